// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization
import TestSupport

@testable import QpidProton

/// Passes the input to the frame observer. The observations must not depend on the cuts in the stream.
///
/// The lower half of the first byte is the number of following bytes that hold the lengths of the pieces. The lengths
/// are used repeatedly.
enum FuzzFrameTap {
    /// Everything that the observer reports about the stream.
    private struct Seen: Equatable {
        var heads: [[UInt8]] = []
        var violation: String?
        /// The window, ids, echoes and violations of each session.
        var sessions: [[Int]] = []
        /// The flow frames that are due.
        var frames: Set<ByteBuffer> = []
    }

    static func run(_ bytes: UnsafeRawBufferPointer) throws {
        guard let count = bytes.first.map({ Int($0 & 15) }), bytes.count > 1 + count else { return }
        let lengths = bytes[1..<1 + count].map { Int($0) + 1 }
        let stream = UnsafeRawBufferPointer(rebasing: bytes[(1 + count)...])
        let whole = try Self.observe(stream, cut: [stream.count])
        try FuzzTarget.require(try Self.observe(stream, cut: [1]) == whole, "single bytes have other observations")
        guard count > 0 else { return }
        try FuzzTarget.require(try Self.observe(stream, cut: lengths) == whole, "the cut stream has other observations")
    }

    private static func observe(_ stream: UnsafeRawBufferPointer, cut lengths: [Int]) throws -> Seen {
        var seen = Seen()
        var tap = FrameScanner()
        var violations = 0
        let observer = FrameObserver(maxFrameSize: 65_536, openLinks: 64)
        let first = try Self.open(observer) { violations += 1 }
        // The scanner starts after the protocol header, which the observer has already passed over.
        FuzzDialogue.header.withUnsafeReadableBytes { tap.consume($0) { _ in nil } }
        var offset = 0
        var piece = 0
        while offset < stream.count, seen.violation == nil {
            let end = min(stream.count, offset + lengths[piece % lengths.count])
            // The bytes have an allocation of their own, so that a sanitizer detects reads beyond it.
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
        // After a violation the scanner still reads the current piece, which no longer counts.
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

    /// Passes the peer's bytes repeatedly, until a frame is in error or all bytes are consumed.
    private static func receive(_ bytes: UnsafeRawBufferPointer, _ observer: FrameObserver) throws -> String? {
        var rest = bytes
        var waits = 0
        while !rest.isEmpty {
            let reading = observer.received(rest)
            if let violation = reading.violation { return "\(violation)" }
            waits = reading.count == 0 ? waits + 1 : 0
            // One wait for an answer to the `open`, and one for another reason.
            try FuzzTarget.require(waits <= 2, "a frame waits for ever")
            rest = UnsafeRawBufferPointer(rebasing: rest[reading.count...])
        }
        return nil
    }

    /// Returns a session that both sides have begun, with a link in each direction.
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
