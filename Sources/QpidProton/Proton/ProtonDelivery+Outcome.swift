// SPDX-License-Identifier: Apache-2.0

internal import CProton

// The translation of outcomes between Swift and a `pn_disposition_t`.

extension ProtonDelivery {
    // Set these outcomes in order, because Proton sends the dispositions of consecutive ids as one range (P57).

    @inline(__always) func accept() { pn_delivery_update(self.pointer, UInt64(PN_ACCEPTED)) }
    @inline(__always) func release() { pn_delivery_update(self.pointer, UInt64(PN_RELEASED)) }

    /// Sets the outcome of this side without settling.
    func set(_ outcome: AMQPOutcome) {
        let delivery = self.pointer
        let local = pn_delivery_local(delivery)
        switch outcome {
        case .accepted: self.accept()
        case .released: self.release()
        case .rejected(let error):
            if let error { ProtonCondition.set(pn_disposition_condition(local), error) }
            pn_delivery_update(delivery, UInt64(PN_REJECTED))
        case .modified(let changes):
            pn_disposition_set_failed(local, changes.deliveryFailed)
            pn_disposition_set_undeliverable(local, changes.undeliverableHere)
            // Annotations that cannot be encoded must not withhold the outcome from the peer.
            try? ProtonData.set(pn_disposition_annotations(local), map: changes.messageAnnotations)
            pn_delivery_update(delivery, UInt64(PN_MODIFIED))
        case .settled: break
        }
    }

    /// The peer's outcome; `nil` without a terminal outcome.
    var remoteOutcome: Result<AMQPOutcome, AMQPError>? {
        let delivery = self.pointer
        let state = pn_delivery_remote_state(delivery)
        switch state {
        case UInt64(PN_ACCEPTED): return .success(.accepted)
        case UInt64(PN_RELEASED): return .success(.released)
        case UInt64(PN_REJECTED):
            let condition = pn_disposition_condition(pn_delivery_remote(delivery))
            return .success(.rejected(ProtonCondition.get(condition, .delivery)))
        case UInt64(PN_MODIFIED):
            let remote = pn_delivery_remote(delivery)
            return .success(
                .modified(
                    AMQPModified(
                        deliveryFailed: pn_disposition_is_failed(remote),
                        undeliverableHere: pn_disposition_is_undeliverable(remote),
                        messageAnnotations: ProtonData.map(pn_disposition_annotations(remote))
                    )
                )
            )
        case 0, UInt64(PN_RECEIVED): return self.isRemotelySettled ? .success(.settled) : nil
        default: return self.isRemotelySettled ? .failure(Self.unknown(state)) : nil
        }
    }

    /// Sets the receiver's outcome as the local state, for a sender that settles second. Omits the error of a
    /// rejection, and the annotations of a modification. Source: AMQP 1.0 §2.6.12.
    func repeatRemoteOutcome() {
        let delivery = self.pointer
        let state = pn_delivery_remote_state(delivery)
        switch state {
        case UInt64(PN_ACCEPTED), UInt64(PN_RELEASED), UInt64(PN_REJECTED): break
        case UInt64(PN_MODIFIED):
            let (local, remote) = (pn_delivery_local(delivery), pn_delivery_remote(delivery))
            pn_disposition_set_failed(local, pn_disposition_is_failed(remote))
            pn_disposition_set_undeliverable(local, pn_disposition_is_undeliverable(remote))
        default: return
        }
        pn_delivery_update(delivery, state)
    }

    private static func unknown(_ state: UInt64) -> AMQPError {
        let name = state == UInt64(UnknownState.code) ? "" : " 0x\(String(state, radix: 16))"
        return AMQPError(
            scope: .delivery,
            condition: .notImplemented,
            detail: "the peer settled the message with an unknown delivery state\(name)",
            fate: .inDoubt
        )
    }
}
