// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport
import Testing

@testable import QpidProton

/// Properties that keep their encoded bytes.
@Suite struct DecodedPropertiesTests {
    private static let kinds: [Set<AMQPType>] = {
        let id: Set<AMQPType> = [.ulong, .uuid, .binary, .string]
        return [
            id, [.binary], [.string], [.string], [.string], id, [.symbol], [.symbol], [.timestamp], [.timestamp],
            [.string], [.uint], [.string],
        ]
    }()

    private static func sample() throws -> AMQPProperties {
        try AMQPMessage(decoding: try fullMessage().encoded()).properties
    }

    /// Returns the value of the property at a position.
    private static func value(_ field: Int, of properties: AMQPProperties) -> AMQPValue? {
        switch field {
        case 0: properties.messageID.map(self.value)
        case 1: properties.userID.map { .binary($0) }
        case 2: properties.to.map { .string($0) }
        case 3: properties.subject.map { .string($0) }
        case 4: properties.replyTo.map { .string($0) }
        case 5: properties.correlationID.map(self.value)
        case 6: properties.contentType.map { .symbol($0) }
        case 7: properties.contentEncoding.map { .symbol($0) }
        case 8: properties.absoluteExpiryTime.map { .timestamp($0) }
        case 9: properties.creationTime.map { .timestamp($0) }
        case 10: properties.groupID.map { .string($0) }
        case 11: properties.groupSequence.map { .uint($0) }
        default: properties.replyToGroupID.map { .string($0) }
        }
    }

    private static func value(_ id: AMQPMessageID) -> AMQPValue {
        switch id {
        case .ulong(let id): .ulong(id)
        case .uuid(let id): .uuid(id)
        case .binary(let id): .binary(id)
        case .string(let id): .string(id)
        }
    }

    /// Skipping a property refuses the same bytes as decoding them as a value, or refuses a wrong type. Reading the
    /// property returns the same value.
    @Test func aPropertyIsReadAsAnyValueIs() throws {
        let seed = SeededGenerator.seed()
        var generator = ValueGenerator(seed: seed)
        var (refused, wrong, read) = (0, 0, 0)
        for index in 0..<3_900 {
            let field = index % 13
            var value = try encoded(generator.value(depth: index % 3))
            if index % 4 == 0, value.readableBytes > 0 {
                value.setInteger(generator.integer(UInt8.self), at: generator.below(value.readableBytes))
            }
            let comment = Comment(rawValue: "seed \(seed), value \(index): \(hex(value))")
            // The value is the last element of a list, at the property's position, after nulls.
            var list = bytes("d0")
            list.writeInteger(UInt32(4 + field + value.readableBytes))
            list.writeInteger(UInt32(field + 1))
            list.writeRepeatingByte(0x40, count: field)
            list.writeImmutableBuffer(value)
            let same = decodingError(hex(list))
            let message = bytes("005373" + hex(list))
            // Lenient decoding keeps the value, whatever its type.
            if same == nil {
                let lenient = try AMQPMessage(decoding: message)
                let kept = lenient.mistypedFields[FieldNames.properties[field]]
                let value = Self.value(field, of: lenient.properties) ?? kept ?? .null
                #expect(value == (try decoded(list).listValue?.last), comment)
                #expect(try AMQPMessage(decoding: lenient.encoded()) == lenient, comment)
            }
            do throws(AMQPError) {
                let strict = AMQPDecodingLimits(isStrict: true)
                let properties = try AMQPMessage(decoding: message, limits: strict).properties
                #expect(same == nil, comment)
                let wanted = try? decoded(list).listValue?.last
                let found = Self.value(field, of: properties) ?? .null
                #expect(found == wanted, comment)
                #expect(properties.isEmpty == (found == .null), comment)
                read += 1
            } catch {
                let isWrongType = error.detail.hasPrefix("another type than")
                // Surplus bytes behind the element are detected at the end of the list. A wrong type is reported before
                // that.
                let isForestalled = isWrongType && same?.detail.contains("bytes more than the elements need") == true
                if let same, !isForestalled {
                    #expect(Self.shifted(same.detail, by: 3) == error.detail, comment)
                    refused += 1
                } else if same == nil {
                    #expect(isWrongType, comment)
                    #expect(error.detail.hasSuffix("at byte \(12 + field)"), comment)
                    let value = try #require(try decoded(list).listValue?.last)
                    #expect(value != .null && value.type.map(Self.kinds[field].contains) != true, comment)
                    wrong += 1
                }
            }
        }
        #expect(refused > 100 && wrong > 500 && read > 100)
    }

    private static func shifted(_ text: String, by count: Int) -> String {
        let words = text.split(separator: " ")
        guard let offset = words.last.flatMap({ Int($0) }) else { return text }
        return (words.dropLast().map(String.init) + ["\(offset + count)"]).joined(separator: " ")
    }

    @Test func changesLeaveTheOtherCopyAlone() throws {
        let first = try Self.sample()
        var (second, third) = (first, first)
        second.subject = "other"
        third.to = nil
        var fourth = second
        fourth.groupSequence = 1
        #expect(try first == fullMessage().properties && first.hashValue == fullMessage().properties.hashValue)
        #expect(second.subject == "other" && second.to == "to-a" && second.groupSequence == 9)
        #expect(third.to == nil && third.subject == "sub")
        #expect(fourth.subject == "other" && fourth.groupSequence == 1)
        #expect(first != second && second != fourth && !first.isEmpty)
        for field in 0..<13 { #expect(Self.value(field, of: first) != nil) }
    }

    /// The first reader decodes the properties, even if several tasks read at the same time.
    @Test func manyTasksReadThemAtOnce() async throws {
        for _ in 0..<50 {
            let properties = try Self.sample()
            let sums = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<8 { group.addTask { properties.subject == "sub" && properties.groupSequence == 9 } }
                return await group.reduce(true) { $0 && $1 }
            }
            #expect(sums)
        }
    }

    @Test func decodedValuesSurviveChangesOfTheBuffer() throws {
        var buffer = try fullMessage().encoded()
        let message = try AMQPMessage(decoding: buffer)
        buffer.clear()
        buffer.writeRepeatingByte(0xff, count: 400)
        #expect(try message == fullMessage())
        #expect(try message.encoded() == fullMessage().encoded())
    }
}
