// SPDX-License-Identifier: Apache-2.0

/// The division of a close's limit.
enum CloseLimit {
    /// Returns the time for the work before the close. The rest, a fortieth of the limit and at most one second, is for
    /// the peer's answer.
    static func work(within limit: Duration) -> Duration {
        limit - min(limit / 40, .seconds(1))
    }
}
