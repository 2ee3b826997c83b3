// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import QpidProton

/// The time for which a test waits for an expected event.
let patience = Duration.seconds(60 * slowdown)

extension Trait where Self == TimeLimitTrait {
    /// The time limit of a hanging test. A test of thousands of steps takes as long as all the tests that run beside
    /// it.
    static var deadline: Self { .deadline(minutes: 3) }

    static func deadline(minutes: Int) -> Self { .timeLimit(.minutes(minutes * slowdown)) }
}

extension Trait where Self == ConditionTrait {
    /// Requires the tested Proton version, because the test compares exact bytes that Proton 0.37 writes or accepts.
    static var testedProton: Self {
        .enabled("this Proton is not \(ProtonVersion.tested)") {
            ["unknown", ProtonVersion.tested].contains(ProtonVersion.loaded)
        }
    }
}
