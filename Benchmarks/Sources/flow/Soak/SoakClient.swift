// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QpidProton
import Synchronization

/// One client, which connects, runs all loads at once for some seconds, ends in one of several ways, and starts again.
struct SoakClient: Sendable {
    private struct Broken: Error {}

    /// The body of a streamed message, which may end with an error.
    private struct Body: AsyncSequence, Sendable {
        let pieces: Int
        let isBroken: Bool
        let world: SoakWorld

        struct AsyncIterator: AsyncIteratorProtocol {
            let body: Body
            var count = 0

            mutating func next() async throws -> ByteBuffer? {
                if self.count == self.body.pieces {
                    if self.body.isBroken { throw Broken() }
                    return nil
                }
                self.count += 1
                try await Task.sleep(for: .milliseconds(self.body.world.number(0...20)))
                return SoakWorld.large.getSlice(at: 0, length: 40_000)
            }
        }

        func makeAsyncIterator() -> AsyncIterator { AsyncIterator(body: self) }
    }

    let world: SoakWorld
    let port: Int

    func run() async {
        while !self.world.isStopping.load(ordering: .relaxed) {
            await self.world.run { await self.live() }
            await self.world.pause(100)
        }
    }

    private func live() async {
        do {
            let connection = try await AMQPConnection.connect(
                host: "127.0.0.1",
                port: self.port,
                configuration: self.world.configuration
            )
            self.world.watch(connection)
            let account = SoakAccount()
            if let session = try? await connection.openSession() {
                await withDiscardingTaskGroup { group in
                    self.load(session, account, &group)
                    await self.wait(connection)
                    await self.end(connection, session)
                    group.cancelAll()
                }
            }
            await connection.close()
            await self.world.close(account)
        } catch {
            self.world.count { $0.failedConnects += 1 }
        }
    }

    /// Waits for the end of the client's run or of the connection.
    private func wait(_ connection: AMQPConnection) async {
        let deadline = ContinuousClock.now + .milliseconds(self.world.number(500...15_000))
        while ContinuousClock.now < deadline, connection.error == nil, !self.world.isStopping.load(ordering: .relaxed) {
            try? await Task.sleep(for: .milliseconds(100))
        }
    }

    private func end(_ connection: AMQPConnection, _ session: AMQPSession) async {
        switch self.world.number(0...3) {
        case 0: await connection.close(within: .seconds(2))
        case 1:
            await session.close(within: .seconds(1))
            await connection.close()
        case 2:
            await session.close(AMQPError(scope: .session, condition: .internalError, detail: "on purpose"))
            await connection.close()
        default: await connection.close()
        }
    }

    // MARK: The load

    private func load(_ session: AMQPSession, _ account: SoakAccount, _ group: inout DiscardingTaskGroup) {
        self.add(&group) { await self.send(session, account, "mixed", SoakWorld.small, every: 30, isSettled: false) }
        self.add(&group) { await self.send(session, account, "fast", SoakWorld.small, every: 30, isSettled: true) }
        self.add(&group) { await self.send(session, account, "slow", SoakWorld.small, every: 20, isSettled: false) }
        self.add(&group) { await self.send(session, account, "mixed", SoakWorld.large, every: 800, isSettled: false) }
        self.add(&group) { await self.send(session, account, "slow", SoakWorld.large, every: 2_000, isSettled: true) }
        self.add(&group) { await self.stream(session, account) }
        self.add(&group) { await self.cancel(session, account) }
        self.add(&group) { await self.churn(session, account) }
        self.add(&group) { await self.receive(session, "source", pause: 0) }
        self.add(&group) { await self.receive(session, "source", pause: 100) }
    }

    private func add(_ group: inout DiscardingTaskGroup, _ body: @escaping @Sendable () async -> Void) {
        group.addTask { await self.world.run(body) }
    }

    private func open(_ session: AMQPSession, _ address: String, isSettled: Bool = false) async -> AMQPSender? {
        var configuration = AMQPSender.Configuration(target: AMQPTarget(address: address))
        configuration.settleMode = isSettled ? .settled : .unsettled
        configuration.priority = self.world.number(0...9)
        guard let sender = try? await session.openSender(configuration) else { return nil }
        self.world.watch(sender)
        return sender
    }

    private func send(
        _ session: AMQPSession,
        _ account: SoakAccount,
        _ address: String,
        _ message: ByteBuffer,
        every milliseconds: Int,
        isSettled: Bool
    ) async {
        guard let sender = await self.open(session, address, isSettled: isSettled) else { return }
        while !Task.isCancelled,
            await account.offer({ () throws(AMQPError) in try await sender.enqueue(encoded: message) })
        {
            await self.world.pause(milliseconds)
        }
    }

    private func stream(_ session: AMQPSession, _ account: SoakAccount) async {
        guard let sender = await self.open(session, "stream") else { return }
        while !Task.isCancelled {
            let body = Body(pieces: self.world.number(0...30), isBroken: self.world.chance(0.2), world: self.world)
            let isCancelled = self.world.chance(0.2)
            let task = Task { await account.offer { try await sender.stream(body: body) } }
            let limit = isCancelled ? self.world.number(0...300) : nil
            guard await self.value(task, after: limit) else { return }
            await self.world.pause(500)
        }
    }

    /// Runs sends that are cancelled at random times.
    private func cancel(_ session: AMQPSession, _ account: SoakAccount) async {
        guard let sender = await self.open(session, "slow") else { return }
        while !Task.isCancelled {
            let message = AMQPMessage(body: self.world.chance(0.1) ? SoakWorld.large : SoakWorld.small)
            let task = Task { await account.offer { try await sender.send(message) } }
            guard await self.value(task, after: self.world.number(0...60)) else { return }
            await self.world.pause(100)
        }
    }

    /// Waits for the value of a task, which is cancelled after a time, or with the waiting task.
    private func value(_ task: Task<Bool, Never>, after milliseconds: Int?) async -> Bool {
        let timer = milliseconds.map { time in
            Task {
                try await Task.sleep(for: .milliseconds(time))
                task.cancel()
            }
        }
        defer { timer?.cancel() }
        return await withTaskCancellationHandler(operation: { await task.value }, onCancel: { task.cancel() })
    }

    /// Opens and closes sessions and links all the time.
    private func churn(_ session: AMQPSession, _ account: SoakAccount) async {
        while !Task.isCancelled, session.connection.error == nil {
            let own = self.world.chance(0.3) ? try? await session.connection.openSession() : nil
            if let sender = await self.open(own ?? session, "mixed") {
                for _ in 0..<self.world.number(0...5) {
                    await account.offer { () throws(AMQPError) in try sender.trySend(encoded: SoakWorld.small) }
                }
                switch self.world.number(0...2) {
                case 0: await sender.close(within: .seconds(1))
                case 1: await sender.detach()
                default: await sender.close()
                }
            }
            await own?.close()
            await self.world.pause(200)
        }
    }

    private func receive(_ session: AMQPSession, _ address: String, pause: Int) async {
        let configuration = AMQPReceiver.Configuration(
            source: AMQPSource(address: address),
            window: self.world.chance(0.5) ? .automatic(budget: .mebibytes(2)) : .messages(20)
        )
        guard let receiver = try? await session.openReceiver(configuration) else { return }
        self.world.watch(receiver)
        await SoakServer.take(receiver, self.world, pause: pause)
    }
}
