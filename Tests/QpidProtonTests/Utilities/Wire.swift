// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded

@testable import QpidProton

/// The socket of the library's side. It buffers written bytes until the test reads them, and completes a write when its
/// last byte is read. The channel is writable while the socket is empty. Only the event loop uses it.
final class Wire: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var written: [(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)] = []
    private var flushed = 0
    private(set) var isClosed = false
    /// The number of writes.
    private(set) var writes = 0
    /// Called after a flush, and after a close.
    var onFlush: () -> Void = {}
    /// Whether a write completes at its flush, before the test reads its bytes, as on a socket with a large buffer.
    var completesOnFlush = false
    /// Whether all flushed bytes count as read.
    private var isTaken = false
    private var channel: NIOAsyncTestingChannel?

    /// The number of flushed bytes that the test has not read.
    var flushedBytes: Int { self.written.prefix(self.flushed).reduce(0) { $0 + $1.bytes.readableBytes } }

    /// The memory of the written bytes that the test has not read.
    var heldBytes: Int { self.written.reduce(0) { $0 + $1.bytes.storageCapacity } }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let bytes = self.unwrapOutboundIn(data)
        self.written.append((bytes, promise))
        if bytes.readableBytes > 0 { self.writes += 1 }
        self.channel = context.channel as? NIOAsyncTestingChannel
        self.showWritability()
    }

    private func showWritability() {
        self.channel?.isWritable = self.isTaken || self.written.allSatisfy { $0.bytes.readableBytes == 0 }
    }

    /// Resumes reading after the library had stopped.
    func read(context: ChannelHandlerContext) {
        context.read()
        self.onFlush()
    }

    func flush(context: ChannelHandlerContext) {
        self.flushed = self.written.count
        if self.completesOnFlush { self.completeAll() }
        self.isTaken = self.completesOnFlush
        self.showWritability()
        self.onFlush()
    }

    private func completeAll() {
        let promises = self.written.compactMap(\.promise)
        for index in self.written.indices { self.written[index].promise = nil }
        for promise in promises { promise.succeed() }
    }

    /// Removes and returns up to `limit` flushed bytes.
    func take(_ limit: Int) -> ByteBuffer? {
        var taken = ByteBuffer()
        var rest = limit
        var completed: [EventLoopPromise<Void>] = []
        while self.flushed > 0, rest > 0 {
            let count = min(rest, self.written[0].bytes.readableBytes)
            if var piece = self.written[0].bytes.readSlice(length: count) { taken.writeBuffer(&piece) }
            rest -= count
            guard self.written[0].bytes.readableBytes == 0 else { break }
            if let promise = self.written.removeFirst().promise { completed.append(promise) }
            self.flushed -= 1
        }
        // A mark completes with the bytes before it.
        while self.flushed > 0, self.written[0].bytes.readableBytes == 0 {
            if let promise = self.written.removeFirst().promise { completed.append(promise) }
            self.flushed -= 1
        }
        self.showWritability()
        for promise in completed { promise.succeed() }
        return taken.readableBytes > 0 ? taken : nil
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        self.failAll()
        context.close(mode: mode, promise: promise)
        self.isClosed = true
        self.onFlush()
    }

    /// Fails all incomplete writes, as a lost socket does.
    func failAll() {
        let lost = self.written
        self.written = []
        self.flushed = 0
        for entry in lost { entry.promise?.fail(ChannelError.ioOnClosedChannel) }
    }
}
