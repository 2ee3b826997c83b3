// SPDX-License-Identifier: Apache-2.0

import NIOCore

@testable import QpidProton

/// An application that makes every call on a connection until the connection ends. It omits calls that wait on another
/// thread, such as `close(within:)`, because an input must always have the same effect.
struct FuzzApplication: Sendable {
    let connection: AMQPConnection
    let options: FuzzOptions

    func run(isClient: Bool) async {
        await withTaskGroup(of: Void.self) { group in
            if isClient { group.addTask { await self.talk() } }
            if !isClient || self.options.isStrange { group.addTask { await self.answer() } }
        }
        await self.connection.close()
    }

    // MARK: Client

    private func talk() async {
        guard let session = try? await self.connection.openSession(self.options.session) else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                guard let receiver = try? await session.openReceiver(self.options.receiver) else { return }
                await self.receive(receiver)
            }
            group.addTask {
                guard let sender = try? await session.openSender(self.options.sender) else { return }
                await self.send(sender)
            }
        }
        await session.close()
    }

    private func send(_ sender: AMQPSender) async {
        var transfers: [AMQPTracker] = []
        for size in [0, 10, 3_000] {
            guard let transfer = try? await sender.enqueue(AMQPMessage(body: ByteBuffer(repeating: 0x41, count: size)))
            else { break }
            transfers.append(transfer)
        }
        if let transfer = try? sender.trySend(AMQPMessage(body: "settled"), settled: true) {
            transfers.append(transfer)
        }
        if self.options.streams {
            let pieces = AsyncStream<ByteBuffer> { stream in
                for size in [5, 700, 0, 1] { stream.yield(ByteBuffer(repeating: 0x41, count: size)) }
                stream.finish()
            }
            _ = try? await sender.stream(body: pieces)
        }
        for transfer in transfers { _ = try? await transfer.outcome() }
        await sender.close()
    }

    private func receive(_ receiver: AMQPReceiver) async {
        var number = 0
        while let delivery = try? await receiver.next() {
            number += 1
            await self.handle(delivery, number)
            if number == 4, (try? await receiver.pause()) != nil { receiver.resume() }
            if number == 6 { _ = try? await receiver.drain(timeout: .seconds(1)) }
        }
        await receiver.close()
    }

    private func handle(_ delivery: AMQPDelivery, _ number: Int) async {
        if delivery.isStreamed {
            var pieces = delivery.body.makeAsyncIterator()
            // The rest of every third body stays unread.
            while let piece = try? await pieces.next(isolation: nil), number % 3 > 0 || piece.readableBytes > 100 {}
            _ = delivery.footer
        } else {
            _ = try? delivery.decodeMessage()
        }
        switch number % 7 {
        case 0: delivery.accept(includingEarlier: true)
        case 1: delivery.release()
        case 2: delivery.reject(AMQPError(scope: .delivery, condition: .notAllowed, detail: "no"))
        case 3: delivery.modify(AMQPModified())
        // The delivery stays unsettled until the link ends.
        case 4: break
        default: delivery.accept()
        }
    }

    // MARK: Server

    private func answer() async {
        let incoming = self.connection.incoming.makeAsyncIterator()
        await withTaskGroup(of: Void.self) { group in
            while let wish = try? await incoming.next(isolation: nil) {
                switch wish {
                case .session(let session): _ = try? await session.accept(self.options.session)
                case .sender(let wish):
                    group.addTask {
                        guard let sender = try? await wish.accept(self.options.sender) else { return }
                        await self.send(sender)
                    }
                case .receiver(let wish):
                    group.addTask {
                        guard let receiver = try? await wish.accept(self.options.receiver) else { return }
                        await self.receive(receiver)
                    }
                }
            }
        }
    }
}
