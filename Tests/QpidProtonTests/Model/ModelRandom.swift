// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

extension SeededGenerator {
    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    mutating func chance(_ percent: Int) -> Bool { self.number(1...100) <= percent }

    mutating func pick<Element>(_ elements: [Element]) -> Element? { elements.randomElement(using: &self) }

    /// Returns the size of a message or of a piece of one. Most sizes are small.
    mutating func size(least: Int = 0) -> Int {
        switch self.number(0...19) {
        case 0: least
        case 1...11: self.number(max(8, least)...300)
        case 12...16: self.number(300...3_000)
        case 17...18: self.number(3_000...9_000)
        default: self.number(9_000...40_000)
        }
    }
}

/// One run of the model: its seed and number of steps reproduce it.
struct ModelCase: Sendable, CustomStringConvertible {
    let seed: UInt64
    let steps: Int

    var description: String { "QPID_PROTON_MODEL_SEED=\(self.seed) QPID_PROTON_MODEL_STEPS=\(self.steps)" }

    /// Ten runs of 2,000 steps, sixty of 2,500 with the long tests, or the run that the environment names.
    static let all: [ModelCase] = {
        let environment = ProcessInfo.processInfo.environment
        let isLong = environment["QPID_PROTON_LONG_TESTS"] != nil
        let steps = environment["QPID_PROTON_MODEL_STEPS"].flatMap { Int($0) } ?? (isLong ? 2_500 : 2_000)
        if let seed = environment["QPID_PROTON_MODEL_SEED"].flatMap({ UInt64($0) }) {
            let runs = environment["QPID_PROTON_MODEL_RUNS"].flatMap { UInt64($0) } ?? 1
            return (0..<runs).map { ModelCase(seed: seed + $0, steps: steps) }
        }
        return (1...(isLong ? 60 : 10)).map { ModelCase(seed: $0, steps: steps) }
    }()
}
