// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton

/// The peer: a listener that accepts all links, uses all outcomes, and sends on request.
struct SoakServer: Sendable {
    let world: SoakWorld

    func run(_ listener: AMQPListener) async {
        let connections = listener.makeAsyncIterator()
        await withDiscardingTaskGroup { group in
            while let connection = try? await connections.next(isolation: nil) {
                self.world.watch(connection)
                group.addTask { await self.world.run { await self.serve(connection) } }
            }
        }
    }

    private func serve(_ connection: AMQPConnection) async {
        let account = SoakAccount()
        await withDiscardingTaskGroup { group in
            let wishes = connection.incoming.makeAsyncIterator()
            while let wish = try? await wishes.next(isolation: nil) {
                group.addTask { await self.world.run { await self.serve(wish, account) } }
            }
            group.cancelAll()
        }
        await connection.close()
        await self.world.close(account)
    }

    private func serve(_ wish: AMQPIncoming, _ account: SoakAccount) async {
        switch wish {
        case .session(let session): _ = try? await session.accept()
        case .receiver(let link):
            let address = link.attach.target?.address ?? ""
            var configuration = AMQPReceiver.Configuration(window: .automatic(budget: .mebibytes(2)))
            if address == "slow" { configuration.window = .messages(4) }
            configuration.streamsMessages = address == "stream"
            guard let receiver = try? await link.accept(configuration) else { return }
            self.world.watch(receiver)
            await Self.take(receiver, self.world, pause: address == "slow" ? 100 : 0, isFast: address == "fast")
        case .sender(let link):
            guard let sender = try? await link.accept() else { return }
            self.world.watch(sender)
            await self.send(sender, account)
        }
    }

    private func send(_ sender: AMQPSender, _ account: SoakAccount) async {
        var isOpen = true
        while !Task.isCancelled, isOpen {
            let message = self.world.chance(0.01) ? SoakWorld.large : SoakWorld.small
            let isSettled = self.world.chance(0.3)
            isOpen = await account.offer { () throws(AMQPError) in
                try await sender.enqueue(encoded: message, settled: isSettled)
            }
            await self.world.pause(40)
        }
    }

    /// Receives messages until the link ends, and uses all outcomes.
    static func take(_ receiver: AMQPReceiver, _ world: SoakWorld, pause: Int, isFast: Bool = false) async {
        while let delivery = try? await receiver.next() {
            if delivery.isStreamed, world.chance(0.9) {
                do {
                    for try await _ in delivery.body where world.chance(0.2) { await world.pause(10) }
                } catch {
                    // The message was aborted, so a decision has no effect.
                }
            }
            if pause > 0 { await world.pause(pause) }
            switch isFast ? 0 : world.number(0...9) {
            case 0...5:
                if !delivery.isSettled { world.count { $0.decided[.accepted, default: 0] += 1 } }
                delivery.accept()
            case 6:
                if !delivery.isSettled { world.count { $0.decided[.rejected, default: 0] += 1 } }
                delivery.reject(AMQPError(scope: .delivery, condition: .notAllowed, detail: "not that one"))
            case 7: delivery.modify(AMQPModified(deliveryFailed: true))
            default: delivery.release()
            }
            if world.chance(0.002) {
                try? await receiver.pause()
                await world.pause(200)
                receiver.resume()
            }
        }
    }
}
