// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton

/// The destination of messages: the link of one connection, or a client's sender, which outlives its links.
protocol Outlet: AnyObject, Sendable {
    /// The current link; `nil` during an outage.
    var link: AMQPSender? { get }
    /// The error that ended the outlet for good; `nil` while it can continue.
    var error: AMQPError? { get }
    /// The messages that were dropped for lack of room.
    var droppedMessages: Int { get }

    /// Hands a message over as soon as it fits.
    func accept(_ message: AMQPMessage) async throws(AMQPError) -> AcceptedMessage

    /// Streams a message, and waits for its outcome.
    ///
    /// - Parameter body: Creates the body from its beginning.
    func stream(
        _ message: AMQPMessage,
        length: AMQPByteCount?,
        body: @Sendable () -> LargeFile.Body
    ) async throws -> AMQPOutcome
}

/// A message that an outlet has accepted.
enum AcceptedMessage: Sendable {
    case link(AMQPTracker)
    case client(AMQPClient.Tracker)

    /// Calls a closure once with the fate of the message.
    func whenSettled(_ note: @escaping @Sendable (Result<AMQPOutcome, AMQPError>) -> Void) {
        switch self {
        case .link(let tracker): tracker.whenSettled(note)
        case .client(let tracker): tracker.whenSettled(note)
        }
    }
}

extension AMQPSender: Outlet {
    var link: AMQPSender? { self }

    func accept(_ message: AMQPMessage) async throws(AMQPError) -> AcceptedMessage {
        .link(try await self.enqueue(message))
    }

    func stream(
        _ message: AMQPMessage,
        length: AMQPByteCount?,
        body: @Sendable () -> LargeFile.Body
    ) async throws -> AMQPOutcome {
        try await self.stream(message, length: length, body: body())
    }
}

extension AMQPClient.Sender: Outlet {
    /// How many consecutive losses one streamed message may see, as with the library's `poisonLimit`.
    private static let mostLosses = 3

    var droppedMessages: Int { self.fates.dropped }

    /// Checks the message's size before the client does. The client would report an excessive size as the message's
    /// fate, which ends the program.
    func accept(_ message: AMQPMessage) async throws(AMQPError) -> AcceptedMessage {
        let encoded = try message.encoded()
        if let most = self.link?.remoteMaxMessageSize, encoded.readableBytes > most.bytes {
            let detail = "the message has \(encoded.readableBytes) bytes: the peer accepts at most \(most.bytes)"
            throw AMQPError(scope: .delivery, condition: .linkMessageSizeExceeded, detail: detail)
        }
        return .client(try await self.enqueue(encoded: encoded))
    }

    /// Streams a message on its link, and again from the beginning on the next link after a loss.
    func stream(
        _ message: AMQPMessage,
        length: AMQPByteCount?,
        body: @Sendable () -> LargeFile.Body
    ) async throws -> AMQPOutcome {
        var lost: AMQPSender?
        var losses = 0
        while true {
            if let error = self.error { throw error }
            // The client releases a lost link a little later than the link reports it.
            guard let link = self.link, link !== lost else {
                try await Task.sleep(for: .milliseconds(50))
                continue
            }
            do {
                return try await link.stream(message, length: length, body: body())
            } catch {
                losses += 1
                guard link.error != nil, !Task.isCancelled, losses < Self.mostLosses else { throw error }
                lost = link
            }
        }
    }
}
