// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Values that are too deep, too numerous or mislabelled, in every place where a peer can put one.
@Suite(.deadline(minutes: 3))
struct HostileValueTests {
    // MARK: Encodings that no encoder writes

    /// Returns nested lists of three bytes each. Each list claims a size of one byte, which Proton does not check.
    static func nested(_ depth: Int) -> [UInt8] { Array((0..<depth).map { _ in [0xC0, 2, 1] }.joined()) + [0x40] }

    /// Returns nested lists with correct lengths, as deep as the frame allows.
    static func soundNested(_ depth: Int) -> [UInt8] {
        var bytes: [UInt8] = [0x45]
        for _ in 0..<depth { bytes = Self.compound(0xD0, count: 1, bytes) }
        return bytes
    }

    /// Returns nested described values.
    static func described(_ depth: Int) -> [UInt8] { Array((0..<depth).map { _ in [0, 0x43] }.joined()) + [0x40] }

    /// Returns an array of four billion nulls.
    static func manyNulls() -> [UInt8] { [0xF0, 0, 0, 0, 5, 0xFF, 0xFF, 0xFF, 0xFF, 0x40] }

    /// Returns a list that claims four billion elements.
    static func longList() -> [UInt8] { [0xD0, 0, 0, 0, 5, 0xFF, 0xFF, 0xFF, 0xFF, 0x40] }

    /// Returns a list with as many elements as a frame can hold.
    static func wideList() -> [UInt8] { Self.compound(0xD0, count: 50_000, Array(repeating: 0x40, count: 50_000)) }

    private static func compound(_ constructor: UInt8, count: Int, _ bytes: [UInt8]) -> [UInt8] {
        func number(_ value: Int) -> [UInt8] { withUnsafeBytes(of: UInt32(value).bigEndian) { Array($0) } }
        return [constructor] + number(4 + bytes.count) + number(count) + bytes
    }

    /// Returns a map of one pair with a symbol as the key.
    static func map(of value: [UInt8]) -> [UInt8] { Self.compound(0xD1, count: 2, [0xA3, 1, 0x6B] + value) }

    static func describedList(_ code: UInt8, _ fields: [[UInt8]]) -> [UInt8] {
        [0, 0x53, code] + Self.compound(0xD0, count: fields.count, Array(fields.joined()))
    }

    /// Returns a frame whose last field consists of these bytes.
    static func frame(_ code: UInt8, _ fields: [AMQPValue], last: [UInt8], payload: [UInt8] = []) throws -> ByteBuffer {
        var encoded = ByteBuffer()
        for field in fields { try field.encode(into: &encoded) }
        let list = Self.compound(0xD0, count: fields.count + 1, Array(encoded.readableBytesView) + last)
        var frame = ByteBuffer()
        frame.writeInteger(UInt32(8 + 3 + list.count + payload.count))
        frame.writeBytes([2, 0, 0, 0, 0, 0x53, code] + list + payload)
        return frame
    }

    private static let error: AMQPValue = .symbol("amqp:internal-error")
    private static func error(info: [UInt8]) -> [UInt8] {
        Self.describedList(0x1D, [[0xA3, 1, 0x78], [0xA1, 1, 0x78], Self.map(of: info)])
    }

    /// Every place where a peer can put a value that Proton decodes, with the frames before it.
    enum Place: String, CaseIterable, Sendable {
        case attachProperties, sourceFilter, sourceCapabilities, sourceNodeProperties, sourceOutcome, targetCapabilities
        case targetNodeProperties, transferState, dispositionState, rejectedInfo, modifiedAnnotations
        case detachInfo, endInfo, closeInfo

        var name: String {
            switch self {
            case .transferState: "transfer"
            case .dispositionState, .rejectedInfo, .modifiedAnnotations: "disposition"
            case .detachInfo: "detach"
            case .endInfo: "end"
            case .closeInfo: "close"
            default: "attach"
            }
        }

        func frame(_ value: [UInt8]) throws -> ByteBuffer {
            let null: [UInt8] = [0x40]
            func attach(source: [[UInt8]]) throws -> ByteBuffer {
                let start: [AMQPValue] = ["x", .uint(9), .bool(false), .null, .null]
                return try HostileValueTests.frame(0x12, start, last: HostileValueTests.describedList(0x28, source))
            }
            func attach(target: [[UInt8]]) throws -> ByteBuffer {
                let start: [AMQPValue] = ["x", .uint(9), .bool(false), .null, .null, .described(0x28, .list([]))]
                return try HostileValueTests.frame(0x12, start, last: HostileValueTests.describedList(0x29, target))
            }
            func nulls(_ count: Int) -> [[UInt8]] { Array(repeating: null, count: count) }
            func disposition(_ state: [UInt8]) throws -> ByteBuffer {
                try HostileValueTests.frame(0x15, [.bool(true), .uint(0), .null, .bool(true)], last: state)
            }
            switch self {
            case .attachProperties:
                let start: [AMQPValue] = ["x", .uint(9), .bool(false)] + Array(repeating: .null, count: 6) + [.uint(0)]
                let rest: [AMQPValue] = [.null, .null, .null]
                return try HostileValueTests.frame(0x12, start + rest, last: HostileValueTests.map(of: value))
            case .sourceNodeProperties: return try attach(source: nulls(5) + [HostileValueTests.map(of: value)])
            case .sourceFilter: return try attach(source: nulls(7) + [HostileValueTests.map(of: value)])
            case .sourceOutcome: return try attach(source: nulls(8) + [value])
            case .sourceCapabilities: return try attach(source: nulls(10) + [value])
            case .targetNodeProperties: return try attach(target: nulls(5) + [HostileValueTests.map(of: value)])
            case .targetCapabilities: return try attach(target: nulls(6) + [value])
            case .transferState:
                let start: [AMQPValue] = [.uint(0), .uint(0), .binary(payload(1)), .uint(0), false, false, .null]
                return try HostileValueTests.frame(0x14, start, last: [0, 0x53, 0x77] + value, payload: [1, 2, 3])
            case .dispositionState: return try disposition([0, 0x53, 0x77] + value)
            case .rejectedInfo:
                return try disposition(HostileValueTests.describedList(0x25, [HostileValueTests.error(info: value)]))
            case .modifiedAnnotations:
                let fields = [null, null, HostileValueTests.map(of: value)]
                return try disposition(HostileValueTests.describedList(0x27, fields))
            case .detachInfo:
                let start: [AMQPValue] = [.uint(0), .bool(true)]
                return try HostileValueTests.frame(0x16, start, last: HostileValueTests.error(info: value))
            case .endInfo: return try HostileValueTests.frame(0x17, [], last: HostileValueTests.error(info: value))
            case .closeInfo: return try HostileValueTests.frame(0x18, [], last: HostileValueTests.error(info: value))
            }
        }
    }

    static let values: [(name: String, bytes: [UInt8])] = [
        ("10,000 lists deep", Self.nested(10_000)),
        ("5,000 lists deep, each as long as it says", Self.soundNested(5_000)),
        ("10,000 described values deep", Self.described(10_000)),
        ("an array of four billion nulls", Self.manyNulls()),
        ("a list of four billion", Self.longList()),
        ("a list of 50,000", Self.wideList()),
    ]

    @Test(arguments: bothRoles, Place.allCases)
    func extremeValuesInAnyPlaceCloseTheConnection(role: ConnectionHandler.Role, place: Place) async throws {
        for value in Self.values {
            try await withReceivers(role) { receivers, connection, adversary in
                try await adversary.send(try place.frame(value.bytes))
                try await adversary.expectClose(.decodeError, "(\(place.name))", connection)
                #expect(receivers[0].error?.condition == .decodeError, "\(value.name)")
            }
        }
    }

    /// Values within the limits pass: 20 levels, and 900 elements.
    @Test(arguments: bothRoles, Place.allCases.filter { ![.detachInfo, .endInfo, .closeInfo].contains($0) })
    func valuesWithinTheLimitsPass(role: ConnectionHandler.Role, place: Place) async throws {
        let wide = Self.compound(0xD0, count: 900, Array(repeating: 0x40, count: 900))
        for value in [Self.soundNested(20), wide] {
            try await withReceivers(role) { receivers, connection, adversary in
                try await adversary.send(try place.frame(value))
                #expect(connection.error == nil, "\(String(describing: connection.error))")
                #expect(receivers[1].error == nil)
            }
        }
    }

    @Test(arguments: bothRoles)
    func propertiesOfTheOpen(role: ConnectionHandler.Role) async throws {
        for value in Self.values {
            let peer = try await InMemoryPeer(role: role, script: .mute)
            try await peer.run { $0.isDeaf = true }
            let adversary = Adversary(peer: peer)
            try await adversary.send(ByteBuffer(bytes: Array("AMQP".utf8) + [0, 1, 0, 0]))
            let fields: [AMQPValue] = ["adversary"] + Array(repeating: .null, count: 8)
            try await adversary.send(Self.frame(0x10, fields, last: Self.map(of: value.bytes)))
            #expect(try await adversary.error(in: .close)?.condition == .decodeError, "\(value.name)")
            #expect(try await adversary.isCut)
            await expectError(.decodeError) { try await peer.handler.opened.value() }
            await peer.finish()
        }
    }

    /// The sections of a message are decoded on demand. The delivery can be refused, and the link continues.
    @Test(arguments: bothRoles)
    func aMessageWithDeepSectionsCanBeRejected(role: ConnectionHandler.Role) async throws {
        try await withReceivers(role, 1, .init(window: .messages(100))) { receivers, connection, adversary in
            var id: UInt32 = 0
            for section in UInt8(0x70)...0x78 {
                // A message may have this many elements.
                for value in Self.values.dropLast() {
                    let body = (0x75...0x77).contains(section) ? value.bytes : Self.map(of: value.bytes)
                    var bytes = ByteBuffer(bytes: [0, 0x53, section])
                    bytes.writeBytes(body)
                    try await adversary.send(.transfer(handle: 0, id: id, tag: [1], payload: bytes))
                    let delivery = try await receivers[0].nextInTime()
                    #expect(throws: AMQPError.self, "section \(section): \(value.name)") {
                        try delivery.decodeMessage()
                    }
                    delivery.reject(AMQPError(scope: .delivery, condition: .decodeError, detail: "no message"))
                    id += 1
                }
            }
            await adversary.peer.settle()
            #expect(receivers[0].error == nil && connection.error == nil)
            #expect(try await connection.snapshot().links.map(\.unsettled) == [0])
        }
    }

    // MARK: Text

    /// Names, addresses and conditions that are not valid text. The library exposes the valid parts, and all links
    /// continue.
    @Test(arguments: bothRoles)
    func invalidTextLeavesAllLinks(role: ConnectionHandler.Role) async throws {
        try await withReceivers(role) { receivers, connection, adversary in
            let bad: [UInt8] = [0xFF, 0xFE, 0xC0, 0x80]
            // The name and the address are not UTF-8, and the capability is not ASCII.
            let nulls = Array(repeating: [0x40] as [UInt8], count: 9)
            let source = Self.describedList(0x28, [[0xA1, 4] + bad] + nulls + [[0xA3, 4] + bad])
            let start: [[UInt8]] = [[0xA1, 4] + bad, [0x52, 9], [0x42], [0x40], [0x40]]
            let fields = start + [source, [0, 0x53, 0x29, 0x45]]
            var attach = ByteBuffer(bytes: [0, 0, 0, 0, 2, 0, 0, 0])
            attach.writeBytes(Self.describedList(0x12, fields))
            attach.setInteger(UInt32(attach.readableBytes), at: 0)
            try await adversary.send(attach)
            #expect(connection.error == nil)
            if role == .server {
                let incoming = connection.incoming.makeAsyncIterator()
                guard case .receiver(let wish)? = try await incoming.next(isolation: nil) else {
                    throw Unexpected(what: "no link")
                }
                #expect(wish.attach.name.contains("\u{FFFD}"))
                #expect(try await wish.accept().error == nil)
            }
            // The detach has an error with invalid text.
            let reason = Self.describedList(0x1D, [[0xA3, 4] + bad, [0xA1, 4] + bad])
            try await adversary.send(Self.frame(0x16, [.uint(0), .bool(true)], last: reason))
            let error = try #require(receivers[0].error)
            #expect(error.scope == .link && error.origin == .peer && error.condition.rawValue.contains("\u{FFFD}"))
            #expect(error.detail.contains("\u{FFFD}"))
            #expect(receivers[1].error == nil && connection.error == nil)
        }
    }

    /// A string that is not UTF-8, and a symbol that is not ASCII, are decoding errors of a message.
    @Test(arguments: bothRoles, [UInt8(0xA1), 0xA3])
    func invalidTextOfAMessageIsADecodingError(role: ConnectionHandler.Role, constructor: UInt8) async throws {
        try await withReceivers(role) { receivers, connection, adversary in
            let bytes = ByteBuffer(bytes: [0, 0x53, 0x77, constructor, 3, 0x61, 0xFF, 0xC0])
            try await adversary.send(.transfer(handle: 0, id: 0, tag: [1], payload: bytes))
            let delivery = try await receivers[0].nextInTime()
            let error = await expectError(.decodeError) { try delivery.decodeMessage() }
            let cause = constructor == 0xA1 ? "UTF-8" : "ASCII"
            #expect(error?.detail.contains(cause) == true, "\(String(describing: error))")
            delivery.release()
            #expect(receivers[0].error == nil && connection.error == nil)
        }
    }

    /// The guard itself, at its limits.
    @Test func theGuardIsExact() throws {
        func accepts(_ bytes: [UInt8]) -> Bool {
            bytes.withUnsafeBytes { ValueGuard.accepts(ByteCursor($0), count: 1, end: $0.count) }
        }
        #expect(accepts(Self.soundNested(ValueGuard.depth)))
        #expect(!accepts(Self.soundNested(ValueGuard.depth + 1)))
        let fits = ValueGuard.elements - 1
        #expect(accepts(Self.compound(0xD0, count: fits, Array(repeating: 0x40, count: fits))))
        #expect(!accepts(Self.compound(0xD0, count: fits + 1, Array(repeating: 0x40, count: fits + 1))))
        // The size is smaller or larger than the elements.
        #expect(!accepts([0xC0, 3, 1, 0x40, 0x40]))
        #expect(!accepts([0xC0, 2, 2, 0x40, 0x40]))
        #expect(accepts([0xE0, 4, 2, 0xA3, 0, 0]))
        #expect(accepts([0xE0, 6, 2, 0, 0x43, 0x52, 1, 2]))
        #expect(!accepts([0xE0, 6, 2, 0, 0x45, 0, 0x52, 1]))
        #expect(!accepts([0x3F]))
        #expect(!accepts([]))
    }
}
