// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ExampleSupport
import QpidProton

/// The window of the command line: the messages or bytes that may be in flight.
enum WindowOption: ExpressibleByArgument, Equatable {
    static let most = 1_000_000

    case auto
    case onDemand
    case unbounded
    case messages(Int)
    case bytes(Int)

    init?(argument: String) {
        switch argument.lowercased() {
        case "auto": self = .auto
        case "on-demand": self = .onDemand
        case "unbounded": self = .unbounded
        default:
            if let count = Int(argument) {
                self = .messages(count)
            } else if let size = ByteSize(argument: argument) {
                self = .bytes(size.bytes)
            } else {
                return nil
            }
        }
    }

    /// Whether the number of the window is within its range.
    var isInRange: Bool {
        switch self {
        case .messages(let count): (1...Self.most).contains(count)
        case .bytes(let bytes): bytes > 0
        case .auto, .onDemand, .unbounded: true
        }
    }

    /// Returns the window of a link.
    ///
    /// - Parameter budget: The bytes of an automatic window; `nil` for the library's default.
    func window(budget: Int?) -> AMQPReceiver.Window {
        switch self {
        case .auto: budget.map { .automatic(budget: AMQPByteCount($0)) } ?? .automatic
        case .onDemand: .onDemand
        case .unbounded: .unbounded
        case .messages(let count): .messages(count)
        case .bytes(let bytes): .bytes(AMQPByteCount(bytes))
        }
    }
}
