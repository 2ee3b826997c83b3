// SPDX-License-Identifier: Apache-2.0

import Foundation
package import QpidProton

extension AMQPURL {
    /// Reads the URL to listen on. Its port may be 0 for a free one.
    package init(listeningAt text: String) throws(AMQPError) {
        let start = text.range(of: "://")?.upperBound ?? text.startIndex
        let place = text[start...].prefix { $0 != "/" }
        guard place.hasSuffix(":0") else {
            try self.init(text)
            return
        }
        // A URL for connecting never has port 0.
        try self.init(text[..<place.index(before: place.endIndex)] + "1" + text[place.endIndex...])
        self.port = 0
    }

    private init(_ text: Substring) throws(AMQPError) { try self.init(String(text)) }
}
