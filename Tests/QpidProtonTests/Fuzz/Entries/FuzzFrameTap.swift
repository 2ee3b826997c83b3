// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization

@testable import QpidProton

/// Shows the bytes to the observer of the frames: what it sees must not depend on where the stream is cut.
///
/// The first byte says how many of those behind it are the lengths of the pieces, which are used again and again.
enum FuzzFrameTap {
    /// All that the observer tells of what it has seen.
    private struct Seen: Equatable {
        var heads: [[UInt8]] = []
        var violation: String?
        /// Of each session: window, ids, echoes, violations.
        var sessions: [[Int]] = []
        /// The flows that are due.
        var frames: Set<ByteBuffer> = []
    }

    static func run(_ bytes: UnsafeRawBufferPointer) throws {
        guard let count = bytes.first.map({ Int($0 & 15) }), bytes.count > 1 + count else { return }
        let lengths = bytes[1..<1 + count].map { Int($0) + 1 }
        let stream = UnsafeRawBufferPointer(rebasing: bytes[(1 + count)...])
        let whole = try Self.observe(stream, cut: [stream.count])
        try FuzzTarget.require(try Self.observe(stream, cut: [1]) == whole, "cut into bytes the stream is another")
        guard count > 0 else { return }
        try FuzzTarget.require(try Self.observe(stream, cut: lengths) == whole, "cut the stream is another")
    }

    private static func observe(_ stream: UnsafeRawBufferPointer, cut lengths: [Int]) throws -> Seen {
        var seen = Seen()
        var tap = FrameScanner()
        var violations = 0
        let observer = FrameObserver(maxFrameSize: 65_536, openLinks: 64)
        let first = try Self.open(observer) { violations += 1 }
        // As behind the protocol header, which the observer has passed over.
        FuzzDialogue.header.withUnsafeReadableBytes { tap.consume($0) { _ in nil } }
        var offset = 0
        var piece = 0
        while offset < stream.count, seen.violation == nil {
            let end = min(stream.count, offset + lengths[piece % lengths.count])
            // Memory of its own, so that a sanitizer sees what is read beyond it.
            try Array(stream[offset..<end]).withUnsafeBytes { bytes in
                tap.consume(bytes) { head in
                    seen.heads.append(Array(head))
                    return nil
                }
                seen.violation = try Self.receive(bytes, observer)
                try FuzzTarget.require(
                    seen.heads.allSatisfy { $0.count <= FrameScanner.headLength },
                    "a head is too long"
                )
            }
            offset = end
            piece += 1
        }
        // Behind a violation the walk goes on in the piece where it is, which no longer counts.
        if seen.violation != nil { seen.heads = [] }
        var sessions = [first]
        while let session = observer.nextArrived() { sessions.append(session) }
        seen.sessions = sessions.map { session in
            [
                session.window.available, Int(session.nextIncomingID), Int(session.window.nextOutgoingID),
                session.remoteOutgoingWindow ?? .min, violations,
            ]
        }
        observer.renewals.answerEchoes { seen.frames.insert($0) }
        _ = observer.renewals.renew(at: 0) { seen.frames.insert($0) }
        return seen
    }

    /// Shows bytes of the peer, as often as it takes until a frame is wrong or all were seen.
    private static func receive(_ bytes: UnsafeRawBufferPointer, _ observer: FrameObserver) throws -> String? {
        var rest = bytes
        var waits = 0
        while !rest.isEmpty {
            let reading = observer.received(rest)
            if let violation = reading.violation { return "\(violation)" }
            waits = reading.count == 0 ? waits + 1 : 0
            // One for an answer to the open, and one for another reason.
            try FuzzTarget.require(waits <= 2, "a frame waits for ever")
            rest = UnsafeRawBufferPointer(rebasing: rest[reading.count...])
        }
        return nil
    }

    /// A session that both sides have begun, with a link each way.
    private static func open(_ observer: FrameObserver, onViolation: @escaping () -> Void) throws
        -> PeerSession
    {
        let (begin, attaches) = (FuzzDialogue.begin, [FuzzDialogue.sending, FuzzDialogue.receiving])
        let own = attaches.map { attach in
            var own = attach
            own.fields[2] = .bool(attach.fields[2] == .bool(false))
            return own
        }
        for (isOwn, frames) in [(true, [begin] + own), (false, [FuzzDialogue.open, begin] + attaches)] {
            for bytes in [FuzzDialogue.header] + (try frames.map { try $0.encoded() }) {
                if isOwn {
                    var output: ByteBuffer? = bytes
                    observer.sent(&output)
                } else {
                    _ = try bytes.withUnsafeReadableBytes { try Self.receive($0, observer) }
                }
            }
        }
        guard let session = observer.nextArrived() else { throw ModelFailure("the session was not seen") }
        session.incoming = IncomingWindow(capacity: 65_536, frameSize: 512, outgoingWindow: 2_048)
        session.freeBytes = { 65_536 }
        session.onViolation = onViolation
        session.senderState = { $0 == "sender" ? FlowFrame.Sender(credit: 7, available: 3, isDraining: false) : nil }
        return session
    }
}
