// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The delivery-tags of one sender: numbers, until the application chooses a tag.
struct DeliveryTagsTests {
    private func bytes(_ number: Int) -> [UInt8] { DeliveryTags.withTag(number) { Array($0) } }

    @Test func aTagIsTheNumberOfItsMessageWithoutLeadingZeros() {
        var tags = DeliveryTags()
        #expect(tags.begin() == 1 && tags.begin() == 2 && tags.begun == 2 && !tags.areKept)
        #expect(self.bytes(1) == [1] && self.bytes(256) == [1, 0] && self.bytes(.max).count == 8)
        let number = self.bytes(65_537).withUnsafeBytes { tags.number(of: $0) }
        #expect(number == 65_537)
    }

    @Test func aChosenTagIsUsedOnceAtATime() throws {
        var tags = DeliveryTags()
        _ = tags.begin()
        tags.keep()
        // The first message is not settled.
        [UInt8]([1]).withUnsafeBytes { tags.keep($0) }
        #expect(try tags.begin([7, 7], isSettled: false) == [7, 7])
        #expect(throws: AMQPError.self) { try tags.begin([7, 7], isSettled: false) }
        #expect(throws: AMQPError.self) { try tags.begin([1], isSettled: false) }
        // A refused message does not count.
        #expect(tags.begun == 2)
        [UInt8]([7, 7]).withUnsafeBytes {
            #expect(tags.number(of: $0) == 2)
            tags.free($0)
        }
        #expect(try tags.begin([7, 7], isSettled: true) == [7, 7])
        // The message was sent settled, so its tag is free at once.
        #expect(try tags.begin([7, 7], isSettled: false) == [7, 7])
    }

    @Test func theLibrarySkipsNumbersThatTheApplicationHasChosen() throws {
        var tags = DeliveryTags()
        tags.keep()
        #expect(try tags.begin([2], isSettled: false) == [2])
        #expect(try tags.begin([3], isSettled: false) == [3])
        // The tag 3 of the third message is in use, so its tag is 4. The fourth one keeps the distance.
        #expect(try tags.begin(nil, isSettled: false) == [4])
        #expect(try tags.begin(nil, isSettled: false) == [5])
        #expect(tags.begun == 4)
        #expect(tags.begin() == 6)
    }

    @Test func aMarkedTagIsFreedByItsOwnBytes() throws {
        var tags = DeliveryTags()
        tags.keep()
        let tag = try tags.begin([9], isSettled: false)
        MarkedTag.bytes(tag, format: 5).withUnsafeBytes {
            #expect(tags.number(of: $0) == 1)
            tags.free($0)
        }
        #expect(try tags.begin([9], isSettled: false) == [9])
    }
}
