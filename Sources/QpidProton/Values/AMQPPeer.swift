// SPDX-License-Identifier: Apache-2.0

/// The fields that the peer announced in its `open` frame. Source: AMQP 1.0 §2.7.1.
public struct AMQPPeer: Hashable, Sendable {
    /// The name of the peer's container.
    public var containerID: String
    /// The host that the peer asks this side to act as.
    public var hostname: String?
    /// The largest frame that the peer accepts; `nil` for no limit.
    public var maxFrameSize: AMQPByteCount?
    /// The highest channel number that the peer accepts.
    public var channelMax: UInt16
    /// The longest interval between frames that the peer requests; `nil` for no limit.
    public var idleTimeout: Duration?
    /// The extensions beyond the standard that the peer offers.
    public var offeredCapabilities: [AMQPSymbol]
    /// The extensions beyond the standard that the peer requests from this side.
    public var desiredCapabilities: [AMQPSymbol]
    /// The properties of the connection, for example the peer's product and version.
    public var properties: AMQPMap

    /// Returns whether all fields are equal. Compares names by their bytes.
    public static func == (left: Self, right: Self) -> Bool {
        left.containerID.hasSameUTF8(as: right.containerID) && String?.haveSameBytes(left.hostname, right.hostname)
            && left.maxFrameSize == right.maxFrameSize && left.channelMax == right.channelMax
            && left.idleTimeout == right.idleTimeout && left.offeredCapabilities == right.offeredCapabilities
            && left.desiredCapabilities == right.desiredCapabilities && left.properties == right.properties
    }

    /// Hashes the names and the properties.
    public func hash(into hasher: inout Hasher) {
        self.containerID.hashBytes(into: &hasher)
        self.hostname.hashBytes(into: &hasher)
        hasher.combine(self.properties)
    }
}

extension AMQPPeer: CustomStringConvertible {
    /// The peer's name, with its product and version if it announced them.
    public var description: String {
        let product = ["product", "version"].compactMap {
            self.properties[symbol: AMQPSymbol(rawValue: $0)]?.stringValue
        }
        return "peer \(self.containerID)" + (product.isEmpty ? "" : " (\(product.joined(separator: " ")))")
    }
}
