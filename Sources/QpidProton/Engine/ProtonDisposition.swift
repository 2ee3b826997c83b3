internal import CProton

/// Outcomes between Swift and a `pn_disposition_t`.
enum ProtonDisposition {
    /// Sets the local state of a delivery, without settling it.
    static func set(_ delivery: OpaquePointer, _ outcome: AMQPOutcome) {
        let local = pn_delivery_local(delivery)
        switch outcome {
        case .accepted: pn_delivery_update(delivery, UInt64(PN_ACCEPTED))
        case .released: pn_delivery_update(delivery, UInt64(PN_RELEASED))
        case .rejected(let error):
            if let error { ProtonCondition.set(pn_disposition_condition(local), error) }
            pn_delivery_update(delivery, UInt64(PN_REJECTED))
        case .modified(let changes):
            pn_disposition_set_failed(local, changes.deliveryFailed)
            pn_disposition_set_undeliverable(local, changes.undeliverableHere)
            // Annotations that cannot be encoded must not keep the outcome itself from the peer.
            try? ProtonData.set(pn_disposition_annotations(local), map: changes.messageAnnotations)
            pn_delivery_update(delivery, UInt64(PN_MODIFIED))
        case .settled: break
        }
    }

    /// What the peer decided; nil while it has decided nothing that ends the delivery.
    static func remote(_ delivery: OpaquePointer) -> AMQPOutcome? {
        let remote = pn_delivery_remote(delivery)
        switch Int32(truncatingIfNeeded: pn_delivery_remote_state(delivery)) {
        case PN_ACCEPTED: return .accepted
        case PN_RELEASED: return .released
        case PN_REJECTED: return .rejected(ProtonCondition.get(pn_disposition_condition(remote), .delivery))
        case PN_MODIFIED:
            return .modified(
                AMQPModified(
                    deliveryFailed: pn_disposition_is_failed(remote),
                    undeliverableHere: pn_disposition_is_undeliverable(remote),
                    messageAnnotations: ProtonData.map(pn_disposition_annotations(remote))
                )
            )
        default: return pn_delivery_settled(delivery) ? .settled : nil
        }
    }
}
