// SPDX-License-Identifier: Apache-2.0

internal import CProton

/// The sizes of Proton's frames, computed before Proton writes them.
///
/// Proton 0.37 writes every performative except the transfer without regard to the peer's max-frame-size (P62). Unknown
/// fields count with their largest size, so the true frame is up to 6 bytes smaller.
enum ProtonFrameSize {
    /// The size of the frame header and the descriptor of a performative.
    private static let head = 8 + 3

    /// Returns the size of the attach of a link that is not opened yet, in bytes.
    static func attach(_ link: OpaquePointer) -> Int {
        let limit = pn_link_max_message_size(link)
        return Self.head
            + Self.list([
                Self.text(pn_link_name(link)),
                // The handle, which Proton chooses when it writes the frame; the role, and the settle modes.
                5, 1, 2, 2,
                Self.source(pn_link_source(link)), Self.target(pn_link_target(link)),
                // The unsettled map, whether it is incomplete, and the initial delivery-count.
                1, 1, 1,
                limit == 0 ? 1 : 9,
                LinkProperties.size(pn_link_properties(link)),
            ])
    }

    /// Returns the size of the open of a connection that is not opened yet, in bytes.
    static func open(_ connection: OpaquePointer) -> Int {
        Self.head
            + Self.list([
                Self.text(pn_connection_get_container(connection)), Self.text(pn_connection_get_hostname(connection)),
                // The frame size, the highest channel, the idle timeout, and the locales.
                5, 3, 5, 1, 1,
                Self.data(pn_connection_offered_capabilities(connection)),
                Self.data(pn_connection_desired_capabilities(connection)),
                Self.data(pn_connection_properties(connection)),
            ])
    }

    private static func source(_ source: OpaquePointer?) -> Int {
        guard let source, pn_terminus_get_type(source) != PN_UNSPECIFIED else { return 1 }
        return 3
            + Self.list(
                Self.common(source) + [
                    // The distribution mode: "copy" or "move".
                    pn_terminus_get_distribution_mode(source) == PN_DIST_MODE_UNSPECIFIED ? 1 : 6,
                    Self.data(pn_terminus_filter(source)),
                    // The default outcome.
                    1, Self.data(pn_terminus_outcomes(source)), Self.data(pn_terminus_capabilities(source)),
                ]
            )
    }

    private static func target(_ target: OpaquePointer?) -> Int {
        guard let target, pn_terminus_get_type(target) != PN_UNSPECIFIED else { return 1 }
        return 3 + Self.list(Self.common(target) + [Self.data(pn_terminus_capabilities(target))])
    }

    private static func common(_ terminus: OpaquePointer) -> [Int] {
        let expiry =
            switch pn_terminus_get_expiry_policy(terminus) {
            case PN_EXPIRE_WITH_LINK: 2 + "link-detach".utf8.count
            case PN_EXPIRE_WITH_CONNECTION: 2 + "connection-close".utf8.count
            case PN_EXPIRE_NEVER: 2 + "never".utf8.count
            // Proton writes the policy only if it is set.
            default: 1
            }
        return [
            Self.text(pn_terminus_get_address(terminus)), Self.uint(pn_terminus_get_durability(terminus).rawValue),
            expiry, Self.uint(pn_terminus_get_timeout(terminus)), 1, Self.data(pn_terminus_properties(terminus)),
        ]
    }

    private static func list(_ fields: [Int]) -> Int {
        let bytes = fields.reduce(0, +)
        return bytes + (bytes + 1 <= 0xFF ? 3 : 9)
    }

    private static func text(_ text: UnsafePointer<CChar>?) -> Int {
        guard let text else { return 1 }
        let count = UnsafeRawPointer(text).withMemoryRebound(to: UInt8.self, capacity: 1) { bytes in
            var count = 0
            while bytes[count] != 0 { count += 1 }
            return count
        }
        return count + (count <= 0xFF ? 2 : 5)
    }

    private static func uint(_ value: UInt32) -> Int { value == 0 ? 1 : value <= 0xFF ? 2 : 5 }

    /// Returns the size of a field with data, or of null if there is no data.
    private static func data(_ data: OpaquePointer?) -> Int {
        guard let data, pn_data_size(data) > 0 else { return 1 }
        pn_data_rewind(data)
        return max(1, pn_data_encoded_size(data))
    }
}
