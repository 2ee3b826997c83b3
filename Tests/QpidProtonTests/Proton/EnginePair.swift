// SPDX-License-Identifier: Apache-2.0

@testable import QpidProton

/// Two engines that exchange their bytes in memory. The second engine accepts every session and link.
struct EnginePair: ~Copyable {
    let client: ProtonEngine
    let server: ProtonEngine

    private init(client: consuming ProtonEngine, server: consuming ProtonEngine) {
        self.client = client
        self.server = server
        self.server.setServer()
        Self.open(self.client, "client")
        Self.open(self.server, "server")
    }

    private static func open(_ engine: borrowing ProtonEngine, _ id: String) {
        engine.setContainerID(id)
        engine.bind()
        engine.open()
    }

    /// Runs a test while both engines exist.
    static func run(_ body: (borrowing EnginePair) throws -> Void) throws {
        let client = try ProtonEngine()
        let server = try ProtonEngine()
        let pair = EnginePair(client: client, server: server)
        try body(pair)
    }

    /// Exchanges bytes until neither side has any.
    func exchange() {
        var isMoving = true
        while isMoving {
            isMoving = false
            self.client.write { bytes in
                isMoving = true
                _ = self.server.read(bytes)
            }
            self.server.write { bytes in
                isMoving = true
                _ = self.client.read(bytes)
            }
        }
    }

    /// Begins a session of the client.
    func beginSession() throws -> ProtonSession {
        guard let session = ProtonSession(of: self.client) else { throw NoMemory() }
        session.begin()
        return session
    }

    /// Attaches a link of the client, and accepts it on the server. Returns the server's end.
    func attach(_ link: borrowing ProtonLink) throws -> ProtonLink {
        link.open()
        self.exchange()
        var view: ProtonLink.View?
        while let event = self.server.nextEvent() {
            if case .sessionRemoteOpen(let session) = event { ProtonSession(session).begin() }
            if case .linkRemoteOpen(let link) = event { view = link }
        }
        guard let view else { throw NoLink() }
        let end = ProtonLink(view)
        end.open()
        if !end.isSender { end.grant(10) }
        self.exchange()
        while self.client.nextEvent() != nil {}
        if end.isSender { link.grant(10) }
        self.exchange()
        return end
    }

    struct NoMemory: Error {}
    struct NoLink: Error {}
}

extension ProtonSession {
    func sender() throws -> ProtonLink {
        guard let link = self.makeSender("link") else { throw EnginePair.NoMemory() }
        return link
    }

    func receiver() throws -> ProtonLink {
        guard let link = self.makeReceiver("link") else { throw EnginePair.NoMemory() }
        return link
    }
}

extension ProtonLink {
    /// Sends a message of one byte, which is also its tag.
    @discardableResult
    func send(_ byte: UInt8, context: UnsafeMutableRawPointer? = nil) -> ProtonDelivery? {
        let delivery = withUnsafeBytes(of: byte) { self.beginDelivery(tag: $0) }
        if let context { delivery?.setContext(context) }
        withUnsafeBytes(of: byte) { self.send($0) }
        self.advance()
        return delivery
    }
}
