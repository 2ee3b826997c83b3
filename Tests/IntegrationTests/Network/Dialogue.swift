// SPDX-License-Identifier: Apache-2.0

import Logging
import QpidProton
import Synchronization
import TestSupport

/// A dialogue of a client and a listener of this library through a proxy. Both sides send messages, decide in every
/// way, and close everything in order. The proxy's plan disturbs the dialogue.
struct Dialogue: Sendable {
    /// The number of messages that each side sends.
    var count = 9
    /// The additional bytes of every fifth message, which then needs many frames.
    var padding = 1_500
    /// The receiver's window, in messages.
    var window = 4
    /// The most bytes that a session may accept before it writes them.
    var sendLimit = AMQPByteCount.mebibytes(1)
    /// The logger of the library.
    var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    /// Observes the connection of each side from its opening on.
    var observe: @Sendable (AMQPConnection) async -> Void = { _ in }

    /// One side of the dialogue, with its accounts.
    final class Side: Sendable {
        let sent = SendAccount()
        let got = ReadController()
        private let ends = Mutex<[AMQPError?]>([])
        /// The connection's error, or `nil` for an orderly end; empty if the connection was never opened.
        var ended: [AMQPError?] { self.ends.withLock { $0 } }
        func end(_ error: AMQPError?) { self.ends.withLock { $0.append(error) } }
    }

    let client = Side()
    let server = Side()
    let remains = Remains()
    /// The idle timeout and the deadline of operations, for cases with damaged bytes. `nil` means an hour, longer than
    /// any case.
    var patience: Duration?
    /// Whether the client sends its messages settled; `false` by default.
    var settles = false

    private var configuration: AMQPConnection.Configuration {
        var configuration = AMQPConnection.Configuration()
        configuration.stallWarning = .seconds(5)
        configuration.maxFrameSize = 512
        configuration.containerID = "dialogue"
        configuration.virtualHost = "localhost"
        configuration.idleTimeout = self.patience ?? .seconds(3_600)
        configuration.openTimeout = self.patience ?? .seconds(3_600)
        configuration.operationTimeout = self.patience ?? .seconds(3_600)
        self.remains.share(&configuration)
        return configuration
    }

    private var session: AMQPSession.Configuration {
        AMQPSession.Configuration(incomingCapacity: .kibibytes(8), sendLimit: .init(high: self.sendLimit))
    }

    private var receiving: AMQPReceiver.Configuration {
        var configuration = AMQPReceiver.Configuration(window: .messages(self.window))
        configuration.settlementDelay = .zero
        return configuration
    }

    // MARK: Running

    /// Runs the dialogue until both sides and all sockets have ended, and returns the proxy's record.
    func run(_ plans: [FaultDirection: FaultPlan]) async throws -> [FaultDirection: FaultRecord] {
        var listening = AMQPListener.Configuration()
        listening.connection = self.configuration
        let listener = try await AMQPListener.bind(port: 0, configuration: listening, logger: self.logger)
        let service = Task { await self.serve(listener) }
        let toServer = plans[.toServer] ?? FaultPlan()
        let toClient = plans[.toClient] ?? FaultPlan()
        return try await FaultProxy.with(to: listener.port, toServer: toServer, toClient: toClient) { proxy in
            await self.talk(proxy.url)
            try await waitUntil("all sockets are closed, of \(plans)") { proxy.openLinks == 0 }
            await listener.close()
            await service.value
            guard let link = proxy.links.first else { return [:] }
            return [.toServer: link[.toServer], .toClient: link[.toClient]]
        }
    }

    /// Sends messages, and waits for the fate of each.
    private func send(_ sender: AMQPSender, _ account: SendAccount) async {
        var transfers: [AMQPTracker] = []
        for number in 0..<self.count {
            let message = AMQPMessage(number: number, padding: number % 5 == 4 ? self.padding : 0)
            let transfer = await account.offer(number) { () throws(AMQPError) in try await sender.enqueue(message) }
            if let transfer { transfers.append(transfer) }
        }
        for transfer in transfers { _ = try? await transfer.outcome() }
    }

    /// Receives messages, and decides about each.
    private func take(_ receiver: AMQPReceiver, count: Int = .max, _ account: ReadController) async {
        var left = count
        while left > 0, let delivery = try? await receiver.next() {
            account.decide(delivery)
            left -= 1
        }
    }

    // MARK: The client

    private func talk(_ url: String) async {
        do throws(AMQPError) {
            let connection = try await AMQPConnection.connect(
                to: url,
                configuration: self.configuration,
                logger: self.logger
            )
            self.remains.watch(connection, "client")
            let observing = Task { await self.observe(connection) }
            defer { observing.cancel() }
            // Without the limit, a side could wait for a damaged frame for ever.
            let limit = self.patience.map { patience in
                Task {
                    try await Task.sleep(for: patience)
                    try await connection.close().check()
                }
            }
            defer { limit?.cancel() }
            do throws(AMQPError) {
                try await self.talk(on: connection)
                try await connection.close().check()
                self.client.end(nil)
            } catch {
                await connection.close()
                self.client.end(connection.error.flatMap { $0.condition == .closed ? error : $0 } ?? error)
            }
        } catch {
            self.client.end(error)
        }
    }

    private func talk(on connection: AMQPConnection) async throws(AMQPError) {
        let session = try await connection.openSession(self.session)
        var sending = AMQPSender.Configuration(target: "there")
        sending.name = "there"
        if self.settles { sending.settleMode = .settled }
        let sender = try await session.openSender(sending)
        self.remains.watch(sender, "client")
        // Every message that is offered from here on needs a fate, even if the dialogue fails.
        async let sent: Void = self.send(sender, self.client.sent)
        var receiving = self.receiving
        receiving.name = "back"
        receiving.source = AMQPSource(address: "back")
        let receiver: AMQPReceiver
        do throws(AMQPError) {
            receiver = try await session.openReceiver(receiving)
        } catch {
            await sent
            throw error
        }
        self.remains.watch(receiver, "client")
        await self.take(receiver, count: self.count, self.client.got)
        await sent
        try await sender.close().check()
        try await receiver.close().check()
        try await session.close().check()
    }

    // MARK: The server

    private func serve(_ listener: AMQPListener) async {
        let connections = listener.makeAsyncIterator()
        while let connection = try? await connections.next(isolation: nil) {
            self.remains.watch(connection, "server")
            let observing = Task { await self.observe(connection) }
            defer { observing.cancel() }
            var failure: AMQPError?
            await withTaskGroup { group in
                let wishes = connection.incoming.makeAsyncIterator()
                do throws(AMQPError) {
                    while let wish = try await wishes.next(isolation: nil) {
                        group.addTask { await self.serve(wish) }
                    }
                } catch {
                    failure = error
                }
            }
            await connection.close()
            self.server.end(failure)
        }
    }

    private static let unknown = AMQPError(scope: .link, condition: .notFound, detail: "there is no such link")

    private func serve(_ wish: AMQPIncoming) async {
        switch wish {
        case .session(let session): _ = try? await session.accept(self.session)
        // A damaged name makes a second link. Each message offered on either link still has one fate.
        case .receiver(let incoming):
            guard incoming.attach.name == "there" else { return incoming.refuse(Self.unknown) }
            guard let receiver = try? await incoming.accept(self.receiving) else { return }
            self.remains.watch(receiver, "server")
            await self.take(receiver, self.server.got)
        case .sender(let incoming):
            guard incoming.attach.name == "back" else { return incoming.refuse(Self.unknown) }
            guard let sender = try? await incoming.accept() else { return }
            self.remains.watch(sender, "server")
            await self.send(sender, self.server.sent)
            try? await sender.waitUntilClosed()
        }
    }
}
