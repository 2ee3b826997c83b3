// SPDX-License-Identifier: Apache-2.0

internal import CProton

/// The translation of sources and targets between Swift and a `pn_terminus_t`.
enum ProtonTerminus {
    static func set(_ terminus: OpaquePointer, _ source: AMQPSource) throws(AMQPError) {
        try Self.check("the source", source.address, source.timeout, source.dynamicNodeProperties, source.capabilities)
        for filter in source.filters { try CheckedText.check(filter.name, "the source's filter") }
        pn_terminus_set_type(terminus, PN_SOURCE)
        Self.setCommon(terminus, source.address, source.durability, source.expiryPolicy, source.timeout)
        pn_terminus_set_dynamic(terminus, source.isDynamic)
        switch source.distributionMode {
        case .move: pn_terminus_set_distribution_mode(terminus, PN_DIST_MODE_MOVE)
        case .copy: pn_terminus_set_distribution_mode(terminus, PN_DIST_MODE_COPY)
        case nil: pn_terminus_set_distribution_mode(terminus, PN_DIST_MODE_UNSPECIFIED)
        }
        try ProtonData.set(pn_terminus_properties(terminus), map: source.dynamicNodeProperties)
        try ProtonData.set(pn_terminus_capabilities(terminus), symbols: source.capabilities)
        var filters = AMQPMap()
        for filter in source.filters { filters[symbol: filter.name] = filter.value }
        try ProtonData.set(pn_terminus_filter(terminus), map: filters)
    }

    static func set(_ terminus: OpaquePointer, _ target: AMQPTarget) throws(AMQPError) {
        try Self.check("the target", target.address, target.timeout, target.dynamicNodeProperties, target.capabilities)
        pn_terminus_set_type(terminus, PN_TARGET)
        Self.setCommon(terminus, target.address, target.durability, target.expiryPolicy, target.timeout)
        pn_terminus_set_dynamic(terminus, target.isDynamic)
        try ProtonData.set(pn_terminus_properties(terminus), map: target.dynamicNodeProperties)
        try ProtonData.set(pn_terminus_capabilities(terminus), symbols: target.capabilities)
    }

    /// Returns a source of the peer; `nil` if the peer sent no source, which refuses the link.
    static func source(_ terminus: OpaquePointer) -> AMQPSource? {
        guard pn_terminus_get_type(terminus) == PN_SOURCE else { return nil }
        var source = AMQPSource(address: Self.address(terminus))
        source.durability = Self.durability(terminus)
        source.expiryPolicy = Self.expiryPolicy(terminus)
        source.timeout = .seconds(Int64(pn_terminus_get_timeout(terminus)))
        source.isDynamic = pn_terminus_is_dynamic(terminus)
        source.dynamicNodeProperties = ProtonData.map(pn_terminus_properties(terminus))
        switch pn_terminus_get_distribution_mode(terminus) {
        case PN_DIST_MODE_MOVE: source.distributionMode = .move
        case PN_DIST_MODE_COPY: source.distributionMode = .copy
        default: source.distributionMode = nil
        }
        source.filters = ProtonData.map(pn_terminus_filter(terminus)).compactMap { key, value in
            key.symbolValue.map { AMQPFilter(name: $0, value: value) }
        }
        source.capabilities = ProtonData.symbols(pn_terminus_capabilities(terminus))
        return source
    }

    /// Returns a target of the peer; `nil` if the peer sent no target, or a coordinator.
    static func target(_ terminus: OpaquePointer) -> AMQPTarget? {
        guard pn_terminus_get_type(terminus) == PN_TARGET else { return nil }
        var target = AMQPTarget(address: Self.address(terminus))
        target.durability = Self.durability(terminus)
        target.expiryPolicy = Self.expiryPolicy(terminus)
        target.timeout = .seconds(Int64(pn_terminus_get_timeout(terminus)))
        target.isDynamic = pn_terminus_is_dynamic(terminus)
        target.dynamicNodeProperties = ProtonData.map(pn_terminus_properties(terminus))
        target.capabilities = ProtonData.symbols(pn_terminus_capabilities(terminus))
        return target
    }

    /// Throws if a field would change on the wire.
    private static func check(
        _ name: String,
        _ address: String?,
        _ timeout: Duration,
        _ properties: AMQPMap,
        _ capabilities: [AMQPSymbol]
    ) throws(AMQPError) {
        try CheckedText.check(address, "\(name)'s address \((address ?? "").debugDescription)")
        try CheckedText.check(properties, "\(name)'s dynamicNodeProperties")
        try CheckedText.check(capabilities, "\(name)'s capability")
        guard timeout >= .zero, timeout.components.seconds <= Int64(UInt32.max) else {
            let text = "\(name)'s timeout is \(timeout): it must be from 0 to 4,294,967,295 seconds"
            throw AMQPError(condition: .invalidArgument, detail: text)
        }
    }

    private static func setCommon(
        _ terminus: OpaquePointer,
        _ address: String?,
        _ durability: AMQPTerminusDurability,
        _ expiryPolicy: AMQPTerminusExpiryPolicy,
        _ timeout: Duration
    ) {
        pn_terminus_set_address(terminus, address)
        let durabilities: [AMQPTerminusDurability: pn_durability_t] = [
            .none: PN_NONDURABLE, .configuration: PN_CONFIGURATION, .unsettledState: PN_DELIVERIES,
        ]
        pn_terminus_set_durability(terminus, durabilities[durability] ?? PN_NONDURABLE)
        // Proton writes the policy only if it is set; the default can be omitted.
        switch expiryPolicy {
        case .sessionEnd: break
        case .linkDetach: pn_terminus_set_expiry_policy(terminus, PN_EXPIRE_WITH_LINK)
        case .connectionClose: pn_terminus_set_expiry_policy(terminus, PN_EXPIRE_WITH_CONNECTION)
        case .never: pn_terminus_set_expiry_policy(terminus, PN_EXPIRE_NEVER)
        }
        pn_terminus_set_timeout(terminus, pn_seconds_t(clamping: timeout.components.seconds))
    }

    private static func address(_ terminus: OpaquePointer) -> String? {
        pn_terminus_get_address(terminus).map { String(cString: $0) }
    }

    private static func durability(_ terminus: OpaquePointer) -> AMQPTerminusDurability {
        switch pn_terminus_get_durability(terminus) {
        case PN_CONFIGURATION: .configuration
        case PN_DELIVERIES: .unsettledState
        default: .none
        }
    }

    private static func expiryPolicy(_ terminus: OpaquePointer) -> AMQPTerminusExpiryPolicy {
        switch pn_terminus_get_expiry_policy(terminus) {
        case PN_EXPIRE_WITH_LINK: .linkDetach
        case PN_EXPIRE_WITH_CONNECTION: .connectionClose
        case PN_EXPIRE_NEVER: .never
        default: .sessionEnd
        }
    }
}
