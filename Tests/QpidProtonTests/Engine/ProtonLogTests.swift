import Logging
import Testing

@testable import QpidProton

/// Where Proton logs to.
@Suite(.deadline)
struct ProtonLogTests {
    /// Proton logs while it is freed too, and what it logs to must be there.
    @Test func whatProtonLogsWhileItIsFreed() throws {
        let kept = LogKeeper()
        var logger = Logger(label: "test") { _ in kept }
        logger.logLevel = .trace
        do {
            let engine = try ProtonEngine()
            engine.log(to: logger, tracesFrames: true)
            engine.bind()
        }
        #expect(kept.text.contains("EOS"))
    }
}
