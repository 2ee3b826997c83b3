// SPDX-License-Identifier: Apache-2.0

import CProton
import TestSupport
import Testing

@testable import QpidProton

/// The destination of Proton's log lines.
@Suite(.deadline)
struct ProtonLogTests {
    /// Proton also logs while it is being freed, so the destination must still exist then.
    @Test func linesThatProtonLogsWhileItIsFreedAreRecorded() throws {
        let kept = LogLines()
        do {
            let engine = try ProtonEngine()
            engine.log(to: kept.logger)
            let proton = pn_transport_logger(engine.transport)
            pn_logger_set_mask(proton, UInt16(PN_SUBSYSTEM_ALL.rawValue), UInt16(PN_LEVEL_FRAME.rawValue))
            engine.bind()
        }
        #expect(kept.text.contains("EOS"))
    }
}
