// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOConcurrencyHelpers
import QpidProton

/// The file with the fate of each submitted message, one per line, in the order of the fates.
///
/// The columns are the sender, the number, the fate, the attempts, and the times of the submission and of the fate in
/// nanoseconds.
final class FateLog: Sendable {
    private struct State {
        var text = ""
        var lines = 0
    }

    private let state = NIOLockedValueBox(State())
    private let file: FileHandle

    init(_ path: String) throws {
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let file = FileHandle(forWritingAtPath: path)
        else { throw CocoaError(.fileWriteUnknown) }
        self.file = file
        self.state.withLockedValue { $0.text = "# sender\tnumber\tfate\tattempts\thanded-ns\tfate-ns\n" }
    }

    /// The number of messages that have a line.
    var count: Int { self.state.withLockedValue { $0.lines } }

    func add(_ sender: Int, _ number: Int, _ fate: String, attempts: Int, handed: UInt64) {
        let line = "\(sender)\t\(number)\t\(fate)\t\(attempts)\t\(handed)\t\(Clock.now)\n"
        self.state.withLockedValue { state in
            state.text += line
            state.lines += 1
            // The lock is held, so that the lines keep their order.
            if state.text.utf8.count > 65_536 { self.write(&state) }
        }
    }

    func flush() { self.state.withLockedValue { self.write(&$0) } }

    private func write(_ state: inout State) {
        self.file.write(Data(state.text.utf8))
        state.text.removeAll(keepingCapacity: true)
    }

    static func name(_ result: Result<AMQPOutcome, AMQPError>) -> String {
        switch result {
        case .success(let outcome): Self.name(outcome)
        case .failure(let error): Self.name(error.fate)
        }
    }

    private static func name(_ outcome: AMQPOutcome) -> String {
        switch outcome {
        case .accepted: "accepted"
        case .rejected: "rejected"
        case .released: "released"
        case .modified: "modified"
        case .settled: "settled"
        }
    }

    private static func name(_ fate: AMQPError.Fate?) -> String {
        switch fate {
        case .inDoubt: "in-doubt"
        case .aborted: "aborted"
        case .dropped: "dropped"
        case .expired: "expired"
        default: "not-sent"
        }
    }
}
