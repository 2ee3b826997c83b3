// SPDX-License-Identifier: Apache-2.0

import Foundation
package import QpidProton

extension AMQPURL {
    /// Reads the URL to listen on. Its port may be 0 for a free one.
    package init(listeningAt text: String) throws(AMQPError) {
        let start = text.range(of: "://")?.upperBound ?? text.startIndex
        let place = text[start...].prefix { $0 != "/" }
        try Self.checkPort(place)
        guard place.hasSuffix(":0") else {
            try self.init(text)
            return
        }
        // A URL for connecting never has port 0.
        try self.init(text[..<place.index(before: place.endIndex)] + "1" + text[place.endIndex...])
        self.port = 0
    }

    private init(_ text: Substring) throws(AMQPError) { try self.init(String(text)) }

    /// Throws for a place without a host, and for an unusable port.
    private static func checkPort(_ place: Substring) throws(AMQPError) {
        let place = place[(place.lastIndex(of: "@").map(place.index(after:)) ?? place.startIndex)...]
        guard place.first != ":", place.isEmpty || !place.allSatisfy(\.isNumber) else {
            let text = "the place to listen on has no host: write 127.0.0.1:5672, or 0.0.0.0:5672 for all addresses"
            throw AMQPError(condition: .invalidArgument, detail: text)
        }
        guard let colon = place.lastIndex(of: ":"), !place[colon...].contains("]") else { return }
        let port = place[place.index(after: colon)...]
        guard port.isEmpty || UInt16(port) != nil else {
            let text = "the port is not a number from 0 to 65535: write host:port, with port 0 for a free one"
            throw AMQPError(condition: .invalidArgument, detail: text)
        }
    }
}
