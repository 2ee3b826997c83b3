// SPDX-License-Identifier: Apache-2.0

import QpidProton
import Synchronization
import TestSupport

/// A peer for a client under test. It records the arriving messages, accepts them unless a test forbids it, and sends
/// messages on request.
final class ClientPeer: Sendable {
    /// A received message.
    struct Arrival: Sendable {
        let id: String
        let message: AMQPMessage
        let delivery: AMQPDelivery
        let link: String
    }

    private struct State {
        var arrivals: [Arrival] = []
        var receivers: [AMQPReceiver] = []
        var senders: [AMQPSender] = []
        var connections: [AMQPConnection] = []
        var settles = true
        var withholdsCredit = false
        var attaches: [String] = []
        var refusals: [String: AMQPError] = [:]
        var endsSessions = false
    }

    let listener: AMQPListener
    private let state = Mutex(State())

    private init(_ listener: AMQPListener) { self.listener = listener }

    var url: String { "amqp://127.0.0.1:\(self.listener.port)" }
    var port: Int { self.listener.port }
    var arrivals: [Arrival] { self.state.withLock { $0.arrivals } }
    var ids: [String] { self.arrivals.map(\.id) }
    /// The receivers of the client's senders, in the order of their attaches.
    var receivers: [AMQPReceiver] { self.state.withLock { $0.receivers } }
    /// The senders of the client's receivers.
    var senders: [AMQPSender] { self.state.withLock { $0.senders } }
    var connections: [AMQPConnection] { self.state.withLock { $0.connections } }

    /// The addresses of the requested links, in order.
    var attaches: [String] { self.state.withLock { $0.attaches } }

    /// Withholds credit from later senders of the client, or grants it again. A test can still grant credit itself.
    func withholdCredit(_ withholds: Bool) { self.state.withLock { $0.withholdsCredit = withholds } }

    /// Accepts messages as they arrive, or leaves them unsettled.
    func settle(_ settles: Bool) { self.state.withLock { $0.settles = settles } }

    /// Refuses links to an address, or accepts them again.
    func refuse(_ address: String, _ error: AMQPError?, endingSessions: Bool = false) {
        self.state.withLock { state in
            state.refusals[address] = error
            state.endsSessions = endingSessions
        }
    }

    static func with<Result>(
        _ configuration: AMQPListener.Configuration = .init(),
        port: Int = 0,
        _ body: (ClientPeer) async throws -> Result
    ) async throws -> Result {
        let peer = ClientPeer(try await AMQPListener.bind(port: port, configuration: configuration))
        let service = Task { await peer.serve() }
        let result: Swift.Result<Result, any Error>
        do { result = .success(try await body(peer)) } catch { result = .failure(error) }
        service.cancel()
        await peer.listener.close()
        await service.value
        return try result.get()
    }

    private func serve() async {
        await withDiscardingTaskGroup { group in
            while let connection = try? await self.listener.next() {
                self.state.withLock { $0.connections.append(connection) }
                group.addTask { await self.serve(connection) }
            }
            group.cancelAll()
        }
    }

    private func serve(_ connection: AMQPConnection) async {
        await withDiscardingTaskGroup { group in
            var last: AMQPSession?
            while let wish = (try? await connection.incoming.next()) ?? nil {
                switch wish {
                case .session(let session): last = try? await session.accept()
                case .receiver(let incoming):
                    self.note(incoming.attach.target?.address)
                    if let refusal = self.refusal(incoming.attach.target?.address) {
                        if self.state.withLock({ $0.endsSessions }), let last {
                            // The client probes a link on a separate session.
                            _ = await last.close(refusal)
                        } else {
                            incoming.refuse(refusal)
                        }
                        continue
                    }
                    group.addTask { await self.receive(incoming) }
                case .sender(let incoming):
                    self.note(incoming.attach.source?.address)
                    if let refusal = self.refusal(incoming.attach.source?.address) {
                        incoming.refuse(refusal)
                        continue
                    }
                    var configuration = AMQPSender.Configuration()
                    configuration.settleMode = .mixed
                    if incoming.attach.source?.isDynamic == true {
                        configuration.source = AMQPSource(address: "dynamic-\(self.attaches.count)")
                    }
                    guard let sender = try? await incoming.accept(configuration) else { continue }
                    self.state.withLock { $0.senders.append(sender) }
                }
            }
        }
        await Task { _ = await connection.close() }.value
    }

    private func note(_ address: String?) { self.state.withLock { $0.attaches.append(address ?? "") } }

    private func refusal(_ address: String?) -> AMQPError? {
        self.state.withLock { $0.refusals[address ?? ""] }
    }

    private func receive(_ incoming: AMQPIncomingReceiver) async {
        var configuration = AMQPReceiver.Configuration()
        if self.state.withLock({ $0.withholdsCredit }) { configuration.window = .manual }
        guard let receiver = try? await incoming.accept(configuration) else { return }
        self.state.withLock { $0.receivers.append(receiver) }
        while let delivery = (try? await receiver.next()) ?? nil {
            guard let message = try? delivery.decodeMessage() else { continue }
            let settles = self.state.withLock { state in
                state.arrivals.append(
                    Arrival(id: message.bodyString ?? "?", message: message, delivery: delivery, link: receiver.name)
                )
                return state.settles
            }
            if settles { delivery.accept() }
        }
    }
}

extension FaultProxy {
    /// Cuts all open and later connections.
    func beginOutage() { self.set(.ending(.cut, at: 0), .toServer) }

    /// Forwards the bytes of later connections again.
    func endOutage() { self.set(FaultPlan(), .toServer) }
}

extension AMQPClient {
    /// Returns a client whose attempts follow each other after 5 to 50 ms.
    static func impatient(
        _ urls: [String],
        _ change: (inout AMQPClient.Configuration) -> Void = { _ in }
    ) -> AMQPClient {
        var configuration = AMQPClient.Configuration()
        configuration.recovery.firstDelay = .milliseconds(5)
        configuration.recovery.longestDelay = .milliseconds(50)
        change(&configuration)
        return AMQPClient(urls: urls, configuration: configuration)
    }
}

/// Runs `body` with a client, its peer, and the proxy between them.
func withClient<Result>(
    _ change: (inout AMQPClient.Configuration) -> Void = { _ in },
    _ body: (AMQPClient, ClientPeer, FaultProxy) async throws -> Result
) async throws -> Result {
    try await ClientPeer.with { peer in
        try await FaultProxy.with(to: peer.port) { proxy in
            let client = AMQPClient.impatient([proxy.url], change)
            let result: Swift.Result<Result, any Error>
            do { result = .success(try await body(client, peer, proxy)) } catch { result = .failure(error) }
            await client.close(within: .zero)
            return try result.get()
        }
    }
}
