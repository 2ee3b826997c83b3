// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QpidProton

/// The parts of errors that programs decide by, and the text for people.
struct ErrorShapeTests {
    /// The rows of the table in the article "Errors". The conditions that a broker can produce have a test against a
    /// broker.
    @Test(
        arguments: [
            (.internalError, .peer, true), (.connectionForced, .peer, true), (.linkDetachForced, .peer, true),
            (.connectionLost, .local, true), (.idleTimeout, .local, true), (.timeout, .local, true),
            (.connectFailed, .local, true), (.resourceLimitExceeded, .peer, true), (.resourceLocked, .peer, true),
            (.closed, .peer, true), (.wouldBlock, .local, true),
            (.internalError, .local, false), (.notFound, .peer, false), (.resourceDeleted, .peer, false),
            (.unauthorizedAccess, .peer, false), (.tlsFailed, .local, false), (.notImplemented, .peer, false),
            (.notAllowed, .peer, false), (.invalidArgument, .local, false), (.closed, .local, false),
            (.cancelled, .local, false), (.dropped, .local, false), (.linkStolen, .peer, false),
            (.decodeError, .peer, false), ("com.example:closed-for-lunch", .peer, false),
        ] as [(AMQPCondition, AMQPError.Origin, Bool)]
    )
    func retrying(_ condition: AMQPCondition, _ origin: AMQPError.Origin, _ isRetryable: Bool) {
        let error = AMQPError(scope: .connection, condition: condition, detail: "", origin: origin)
        #expect(error.isRetryable == isRetryable)
        // The fate of the message does not change the answer.
        #expect(error.telling(.inDoubt).isRetryable == isRetryable)
    }

    @Test func endings() {
        func ending(_ scope: AMQPError.Scope, _ condition: AMQPCondition) -> AMQPError.Ending? {
            AMQPError(scope: scope, condition: condition).ending
        }
        #expect(ending(.connection, .connectionLost) == .lost && ending(.connection, .idleTimeout) == .lost)
        #expect(ending(.connection, .connectFailed) == .refused && ending(.connection, .tlsFailed) == .refused)
        #expect(ending(.session, .notFound) == .closed && ending(.link, .linkStolen) == .closed)
        #expect(ending(.call, .timeout) == nil && ending(.delivery, .dropped) == nil)
    }

    @Test func descriptions() {
        let deleted = AMQPError(
            scope: .link,
            condition: .resourceDeleted,
            detail: "queue 'q' was deleted",
            origin: .peer,
            ending: .detached
        )
        #expect("\(deleted)" == "the peer detached the link: amqp:resource-deleted: queue 'q' was deleted")
        #expect(
            "\(deleted.telling(.inDoubt))"
                == "message in doubt: the peer detached the link: amqp:resource-deleted: queue 'q' was deleted"
        )
        let refused = AMQPError(scope: .session, condition: .notFound, detail: "", origin: .peer, ending: .refused)
        #expect("\(refused)" == "the peer refused the session: amqp:not-found")
        #expect("\(AMQPError(condition: .invalidArgument, detail: "weight is 0"))" == "weight is 0")
        #expect("\(AMQPError(condition: .cancelled))" == "local:cancelled")
        #expect("\(AMQPError.sendCancelled)".hasPrefix("message not sent: the task was cancelled"))
        let rejected = AMQPError(scope: .delivery, condition: .invalidField, detail: "", origin: .peer)
        #expect("\(rejected)" == "the peer reports: amqp:invalid-field")
        let lost = AMQPError(scope: .connection, condition: .connectionLost, detail: "connection reset by peer")
        #expect("\(lost)" == "the connection was lost: connection reset by peer")
        let closed = AMQPError(scope: .connection, condition: .closed, detail: "the peer closed it", origin: .peer)
        #expect("\(closed)" == "the peer closed it")
    }

    @Test func anUnderlyingErrorIsKeptAndNotCompared() {
        var error = AMQPError(scope: .connection, condition: .connectionLost, detail: "reset")
        let other = error
        error.underlying = IOError(errnoCode: 104, reason: "read")
        #expect((error.underlying as? IOError)?.errnoCode == 104 && other.underlying == nil)
        #expect(error == other && error.hashValue == other.hashValue)
    }
}
