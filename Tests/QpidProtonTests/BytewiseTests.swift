// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import Testing

/// AMQP compares texts byte by byte. Swift's strings also treat canonically equivalent texts as equal.
struct BytewiseTests {
    private static let composed = "caf\u{E9}"
    private static let decomposed = "cafe\u{301}"

    private func expectDistinct<Value: Hashable>(
        _ make: (String) -> Value,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let (left, right) = (make(Self.composed), make(Self.decomposed))
        #expect(left != right, sourceLocation: sourceLocation)
        #expect(Set([left, right]).count == 2, sourceLocation: sourceLocation)
        #expect(left == make(Self.composed), sourceLocation: sourceLocation)
        #expect(left.hashValue == make(Self.composed).hashValue, sourceLocation: sourceLocation)
        // The hashes differ too. Otherwise a peer could choose many keys that fall into one bucket of a hash table.
        #expect(left.hashValue != right.hashValue, sourceLocation: sourceLocation)
    }

    @Test func symbolsConditionsAndValuesAreComparedByTheirBytes() {
        self.expectDistinct { AMQPSymbol($0) }
        self.expectDistinct { AMQPCondition(rawValue: $0) }
        self.expectDistinct { AMQPValue.string($0) }
        self.expectDistinct { AMQPValue.symbol(AMQPSymbol($0)) }
        self.expectDistinct { AMQPMap([(key: .string($0), value: .null)]) }
        self.expectDistinct { AMQPFilter(name: AMQPSymbol($0), value: .null) }
    }

    @Test func messageIDsAndPropertiesAreComparedByTheirBytes() {
        self.expectDistinct { AMQPMessageID.string($0) }
        let fields: [(inout AMQPProperties, String) -> Void] = [
            { $0.messageID = .string($1) }, { $0.to = $1 }, { $0.subject = $1 }, { $0.replyTo = $1 },
            { $0.correlationID = .string($1) }, { $0.contentType = AMQPSymbol($1) },
            { $0.contentEncoding = AMQPSymbol($1) }, { $0.groupID = $1 }, { $0.replyToGroupID = $1 },
        ]
        for set in fields {
            self.expectDistinct {
                var properties = AMQPProperties()
                set(&properties, $0)
                return properties
            }
        }
    }

    @Test func propertiesDifferInEveryField() {
        let fields: [(inout AMQPProperties) -> Void] = [
            { $0.messageID = 1 }, { $0.userID = ByteBuffer(string: "u") }, { $0.to = "x" }, { $0.subject = "x" },
            { $0.replyTo = "x" }, { $0.correlationID = 1 }, { $0.contentType = "x" }, { $0.contentEncoding = "x" },
            { $0.absoluteExpiryTime = AMQPTimestamp(millisecondsSinceEpoch: 1) },
            { $0.creationTime = AMQPTimestamp(millisecondsSinceEpoch: 1) },
            { $0.groupID = "x" }, { $0.groupSequence = 1 }, { $0.replyToGroupID = "x" },
        ]
        let all = fields.map { set in
            var properties = AMQPProperties()
            set(&properties)
            return properties
        }
        #expect(Set(all).count == fields.count)
        for (index, properties) in all.enumerated() {
            #expect(properties != AMQPProperties())
            for (other, second) in all.enumerated() { #expect((properties == second) == (index == other)) }
        }
    }

    @Test func addressesAreComparedByTheirBytes() {
        self.expectDistinct { AMQPSource(address: $0) }
        self.expectDistinct { AMQPTarget(address: $0) }
        self.expectDistinct { AMQPURL(host: "h", address: $0) }
        self.expectDistinct { AMQPURL(host: "h", username: $0) }
        self.expectDistinct { AMQPAuthenticatedIdentity(mechanism: nil, username: $0) }
        #expect(AMQPSource(address: nil) != AMQPSource(address: ""))
        #expect("\(AMQPTarget(address: "q"))".contains("q"))
    }

    @Test func symbolsAreOrderedByTheirBytes() {
        #expect(AMQPSymbol(Self.decomposed) < AMQPSymbol(Self.composed))
        #expect(AMQPSymbol("a") < "b")
        #expect(!(AMQPSymbol("a") < "a"))
    }
}
