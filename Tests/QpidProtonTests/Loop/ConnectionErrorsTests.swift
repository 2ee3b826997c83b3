// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// The library's errors for the end of a connection.
@Suite struct ConnectionErrorsTests {
    private struct Strange: Error {}
    private let errors = ConnectionErrors(host: "host", idleTimeout: .seconds(7))

    @Test func anErrorOfTheLibraryStaysUnchanged() {
        let error = AMQPError(scope: .session, condition: .notAllowed, detail: "no")
        let translated = self.errors.translate(error, nil)
        #expect(translated == error && translated.underlying == nil)
    }

    @Test func aClosedChannelIsALostConnection() {
        for error in [ChannelError.ioOnClosedChannel, .eof, .inputClosed] {
            let translated = self.errors.translate(error, nil)
            #expect(translated == self.errors.lost && translated.ending == .lost)
            #expect(translated.underlying as? ChannelError == error)
        }
    }

    @Test func anErrorOfTheNetworkNamesItsCause() {
        let translated = self.errors.translate(IOError(errnoCode: 104, reason: "read"), nil)
        #expect(translated.condition == .connectionLost && translated.scope == .connection)
        #expect(translated.detail == NetworkError.cause(errno: 104) && translated.underlying is IOError)
        #expect(self.errors.translate(Strange(), nil).detail == NetworkError.unknown)
    }

    @Test func anErrorThatProtonDetectedIsReportedUnchanged() throws {
        let engine = try ProtonEngine()
        let before = self.errors.transportError(of: engine)
        engine.bind()
        engine.fail(AMQPError(scope: .connection, condition: .decodeError, detail: "bad frame"))
        let found = self.errors.transportError(of: engine)
        #expect(before == nil && found?.condition == .decodeError && found?.detail == "bad frame")
    }

    @Test func anIdleTimeoutOfProtonHasTheTimeAndACondition() throws {
        let text = ProtonEngine.idleTimeoutText
        let engine = try ProtonEngine()
        engine.bind()
        engine.fail(AMQPError(scope: .connection, condition: .resourceLimitExceeded, detail: text))
        let error = self.errors.transportError(of: engine)
        let found = try #require(error)
        #expect(found.condition == .idleTimeout && found.ending == .lost)
        #expect(found.detail == "no bytes arrived from the peer for \(Duration.seconds(7))")
        let unlimited = ConnectionErrors(host: nil, idleTimeout: nil).transportError(of: engine)
        #expect(unlimited?.detail == "no bytes arrived from the peer")
    }

    @Test func aSocketThatClosesInPlaceOfTheAnswerIsLost() throws {
        let engine = try ProtonEngine()
        for condition in [AMQPCondition.closed, .connectionLost] {
            let answer = self.errors.closeAnswer(AMQPError(scope: .connection, condition: condition), engine)
            let error = try #require(answer.failure)
            #expect(error.condition == .connectionLost && error.ending == .lost)
            #expect(error.detail == "the peer closed the socket without answering the close")
        }
        let timeout = AMQPError(scope: .connection, condition: .timeout, detail: "late")
        #expect(self.errors.closeAnswer(timeout, engine).failure == timeout)
    }

    @Test func theReasonOfThePeersCloseIsReportedDespiteALaterLoss() throws {
        for reason in [nil, AMQPError(condition: .internalError, detail: "the peer's reason")] {
            try EnginePair.run { pair in
                pair.exchange()
                if let reason { pair.server.setError(reason) }
                pair.server.close()
                pair.exchange()
                let answer = self.errors.closeAnswer(self.errors.lost, pair.client)
                #expect(answer.failure?.detail == reason?.detail && answer.failure?.condition == reason?.condition)
            }
        }
    }
}
