// SPDX-License-Identifier: Apache-2.0

@testable import QpidProton

extension FrameObserver {
    /// Shows bytes of the peer, a frame that has to wait for an answer twice. Returns what is wrong in them.
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
