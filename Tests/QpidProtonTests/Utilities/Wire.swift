// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded

@testable import QpidProton

/// The socket of the library's side: it keeps what was written until the test takes it, and completes a write when its
/// last byte is taken. The channel is writable while the socket keeps nothing. It belongs to the event loop.
final class Wire: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var written: [(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)] = []
    private var flushed = 0
    private(set) var isClosed = false
    /// How often something was written.
    private(set) var writes = 0
    /// Called after a flush, and after a close.
    var onFlush: () -> Void = {}
    /// Completes a write as soon as it is flushed, before its bytes are taken: what a socket with much room does.
    var completesOnFlush = false
    /// All that was flushed counts as taken.
    private var isTaken = false
    private var channel: NIOAsyncTestingChannel?

    /// The bytes that were flushed and not taken.
    var flushedBytes: Int { self.written.prefix(self.flushed).reduce(0) { $0 + $1.bytes.readableBytes } }

    /// The memory of what was written and not taken.
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

    /// The library reads on after it had stopped.
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

    /// Takes up to `limit` flushed bytes.
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
        // A mark is complete with the bytes before it.
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

    /// What was not taken is lost, as a socket loses it.
    func failAll() {
        let lost = self.written
        self.written = []
        self.flushed = 0
        for entry in lost { entry.promise?.fail(ChannelError.ioOnClosedChannel) }
    }
}
