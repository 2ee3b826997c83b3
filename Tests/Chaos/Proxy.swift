// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import TestSupport

/// Breaks the connections to a broker at random times.
struct Proxy: AsyncParsableCommand {
    enum Fault: String, CaseIterable, ExpressibleByArgument, Sendable {
        case cut, reset, halfClose, blackHole
    }

    static let configuration = CommandConfiguration(
        abstract: "A TCP proxy that cuts, resets, half-closes and black-holes its connections.",
        discussion: "Commands on standard input: go, pause. Prints 'fault KIND NANOSECONDS' for each fault."
    )

    @Option(help: "The port of the broker on loopback.") var to: Int
    @Option(help: "The shortest time between two faults, in seconds.") var least = 0.1
    @Option(help: "The longest time between two faults, in seconds.") var most = 2.0
    @Option(help: "The seed of the times and faults.") var seed: UInt64 = 1
    @Option(help: "The faults, each with the same probability; all by default.") var fault: [Fault] = []

    func validate() throws {
        guard self.least > 0, self.most >= self.least else {
            throw ValidationError("--least must be more than 0, and --most at least --least")
        }
    }

    func run() async throws {
        try await FaultProxy.with(to: self.to) { proxy in
            Commands.answer("listening \(proxy.port)")
            var faults: Task<Void, Never>?
            for await command in Commands.lines() {
                faults?.cancel()
                await faults?.value
                faults = command == "go" ? self.faults(of: proxy) : nil
                Commands.answer(command)
            }
            faults?.cancel()
        }
    }

    private func faults(of proxy: FaultProxy) -> Task<Void, Never> {
        let kinds = self.fault.isEmpty ? Fault.allCases : self.fault
        return Task {
            var random = SeededGenerator(seed: self.seed)
            while true {
                let pause = Double.random(in: self.least...self.most, using: &random)
                do { try await Task.sleep(for: .seconds(pause)) } catch { return }
                guard let kind = kinds.randomElement(using: &random) else { return }
                let direction: FaultDirection = Bool.random(using: &random) ? .toServer : .toClient
                switch kind {
                case .cut: proxy.end(.cut, direction)
                case .reset: proxy.end(.reset, direction)
                case .halfClose: proxy.end(.halfClose, direction)
                case .blackHole: for direction in FaultDirection.allCases { proxy.end(.blackHole, direction) }
                }
                Commands.answer("fault \(kind.rawValue) \(Clock.now)")
            }
        }
    }
}
