// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// How much longer than a plain build a test may take: a sanitizer slows every step down, and all tests run side by side.
#if THREAD_SANITIZER || ADDRESS_SANITIZER
    let slowdown = 10
#else
    let slowdown = 1
#endif

/// How long a test waits for what must come.
let patience = Duration.seconds(20 * slowdown)

extension Trait where Self == TimeLimitTrait {
    /// What ends a test that hangs. One of thousands of steps takes as long as all the others beside it.
    static var deadline: Self { .deadline(minutes: 3) }

    static func deadline(minutes: Int) -> Self { .timeLimit(.minutes(minutes * slowdown)) }
}

extension Trait where Self == ConditionTrait {
    /// The test states what Proton 0.37 writes or takes, to the byte.
    static var testedProton: Self {
        .enabled("this Proton is not \(ProtonVersion.tested)") {
            ["unknown", ProtonVersion.tested].contains(ProtonVersion.loaded)
        }
    }
}
