// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The SplitMix64 generator, which returns the same values for the same seed.
package struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) {
        self.state = seed
    }

    /// Returns the seed of a random test: the value of `QPID_PROTON_SEED`, or a random one. Prints the line that
    /// replays the test.
    package static func seed(_ file: String = #fileID, _ test: String = #function) -> UInt64 {
        let given = ProcessInfo.processInfo.environment["QPID_PROTON_SEED"].flatMap { UInt64($0) }
        let seed = given ?? .random(in: .min ... .max)
        let suite = file.split(separator: "/").last?.prefix { $0 != "." } ?? ""
        print("replay: QPID_PROTON_SEED=\(seed) ./dev/test --filter '\(suite)/\(test.prefix { $0 != "(" })'")
        return seed
    }

    package mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
