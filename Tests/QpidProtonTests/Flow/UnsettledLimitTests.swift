// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

struct UnsettledLimitTests {
    @Test func creditAndUnsettledMessagesShareTheLimit() {
        let limit = UnsettledLimit(100)
        #expect(limit.room(unsettled: 0, outstanding: 0) == 100)
        #expect(limit.room(unsettled: 30, outstanding: 60) == 10)
        #expect(limit.room(unsettled: 100, outstanding: 0) == 0)
        #expect(limit.room(unsettled: 90, outstanding: 20) == 0)
        #expect(UnsettledLimit.none.room(unsettled: .max, outstanding: .max) == .max)
        #expect(UnsettledLimit.none.credit(unsettled: .max, outstanding: .max) == .max)
    }

    @Test(arguments: [(1, 1), (3, 1), (8, 2), (100, 25), (10_000, 64)])
    func littleRoomIsGrantedOnlyWhenNoCreditIsLeft(most: Int, least: Int) {
        let limit = UnsettledLimit(most)
        #expect(limit.credit(unsettled: most - least, outstanding: 0) == least)
        #expect(limit.credit(unsettled: most - 1, outstanding: 0) == 1)
        if most > least { #expect(limit.credit(unsettled: most - least - 1, outstanding: 1) == least) }
        if least > 1 { #expect(limit.credit(unsettled: most - least, outstanding: 1) == 0) }
    }
}
