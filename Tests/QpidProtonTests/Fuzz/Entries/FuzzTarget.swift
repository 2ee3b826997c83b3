// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The targets of the fuzzer. Each target accepts any bytes, and must return. The programs of `FuzzTesting/` run the
/// targets with bytes from libFuzzer, and the tests run them with inputs that once made a target fail.
public enum FuzzTarget: String, CaseIterable, Sendable {
    /// The message decoder: see ``FuzzMessage``.
    case message
    /// The bytes of a server to a client: see ``FuzzConnection``.
    case client
    /// The bytes of a client to a listener, with a SASL layer first.
    case server
    /// The bytes of a server to a client that logs in.
    case sasl
    /// The bytes of a peer, as the frame observer sees them: see ``FuzzFrameTap``.
    case frametap
    /// Frames that are edited in transit: see ``FuzzFrameEditor``.
    case frameeditor

    /// Whether the input consists of frames behind a first byte that chooses settings.
    public var hasFrames: Bool { self != .message }

    /// Runs the target with `bytes`.
    ///
    /// - Throws: If an invariant is violated. A trap, a hang and unbounded memory are findings too.
    public func run(_ bytes: UnsafeRawBufferPointer) throws {
        switch self {
        case .message: try FuzzMessage.run(bytes)
        case .client: try FuzzConnection.run(bytes, as: .client)
        case .server: try FuzzConnection.run(bytes, as: .server)
        case .sasl: try FuzzConnection.run(bytes, as: .clientWithLogin)
        case .frametap: try FuzzFrameTap.run(bytes)
        case .frameeditor: try FuzzFrameEditor.run(bytes)
        }
    }

    /// Returns a buffer that ends at the end of its allocation, so that a sanitizer detects the first byte read beyond
    /// it.
    static func buffer(_ bytes: some Collection<UInt8>) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: bytes.count)
        let gap = buffer.writableBytes - bytes.count
        buffer.writeRepeatingByte(0xFF, count: gap)
        buffer.writeBytes(bytes)
        buffer.moveReaderIndex(forwardBy: gap)
        return buffer
    }

    static func require(_ condition: Bool, _ text: @autoclosure () -> String) throws {
        if !condition { throw ModelFailure(text()) }
    }
}
