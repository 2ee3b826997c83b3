// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What is fuzzed: each target takes any bytes, and must return. The programs of `FuzzTesting/` run them with bytes that
/// libFuzzer makes, and the tests with those that once made one fail.
public enum FuzzTarget: String, CaseIterable, Sendable {
    /// The message decoder: see ``FuzzMessage``.
    case message
    /// What a server sends to a client: see ``FuzzConnection``.
    case client
    /// What a client sends to a listener, with SASL before it.
    case server
    /// What a server sends to a client that logs in.
    case sasl
    /// What a peer sends, as the observer of its frames sees it: see ``FuzzFrameTap``.
    case frametap
    /// Frames that are changed on their way: see ``FuzzFrameEditor``.
    case frameeditor

    /// Whether the bytes are frames behind a first byte that chooses settings.
    public var hasFrames: Bool { self != .message }

    /// Does with the bytes what the target does.
    ///
    /// - Throws: When what must hold does not. A trap, a hang and memory without end are findings too.
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

    /// A buffer that ends where its memory does, so that a sanitizer sees the first byte read beyond it.
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
