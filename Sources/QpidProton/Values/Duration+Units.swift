// SPDX-License-Identifier: Apache-2.0

extension Duration {
    /// The whole nanoseconds, clamped to the type.
    var nanoseconds: Int64 {
        let (seconds, attoseconds) = self.components
        let (whole, isTooLarge) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if isTooLarge { return seconds < 0 ? .min : .max }
        let (sum, overflows) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
        return overflows ? (seconds < 0 ? .min : .max) : sum
    }

    /// The whole milliseconds, clamped to the type.
    var milliseconds: Int64 { self.nanoseconds / 1_000_000 }
}
