// SPDX-License-Identifier: Apache-2.0

@testable import QpidProton

extension FrameObserver {
    /// Passes in the peer's bytes, and a frame that must wait for an answer twice. Returns the first violation.
    func receivedAll(_ bytes: UnsafeRawBufferPointer) -> AMQPError? {
        var rest = bytes
        while !rest.isEmpty {
            let reading = self.received(rest)
            if let violation = reading.violation { return violation }
            rest = UnsafeRawBufferPointer(rebasing: rest[reading.count...])
        }
        return nil
    }
}
