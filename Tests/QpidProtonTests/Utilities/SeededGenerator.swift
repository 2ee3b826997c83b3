import Foundation

/// SplitMix64: the same values for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        self.state = seed
    }

    /// The seed in QPID_PROTON_SEED, with which a failed run names itself; any other one without it.
    static var chosenSeed: UInt64 {
        ProcessInfo.processInfo.environment["QPID_PROTON_SEED"].flatMap { UInt64($0) } ?? .random(in: 0...999_999)
    }

    mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
