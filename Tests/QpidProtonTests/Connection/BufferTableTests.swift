// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QpidProton

/// The tables of `Documentation/buffers.md` match the code: each default, and a row for each setting that is a size, a
/// count or a time.
@Suite(.deadline)
struct BufferTableTests {
    /// The titles of the first column in the tables of settings.
    private static let settingTables = [
        "Setting for sending", "Setting for receiving", "Setting of a connection", "Setting of a client",
    ]

    /// Settings that are not limits, or that only the client sets.
    private static let noLimits: Set<String> = [
        "AMQPSender.Configuration.priority", "AMQPSender.Configuration.weight", "AMQPSender.Configuration.keptLimit",
        "AMQPSession.Configuration.outgoingWindow", "AMQPSendOptions.messageFormat", "AMQPMetrics.interval",
        "AMQPMetrics.shortestBlock",
    ]

    /// Types whose `nil` means "no limit".
    private static let optionalLimits: Set<ObjectIdentifier> = [
        ObjectIdentifier(Int?.self), ObjectIdentifier(UInt16?.self), ObjectIdentifier(UInt32?.self),
        ObjectIdentifier(Duration?.self), ObjectIdentifier(AMQPByteCount?.self), ObjectIdentifier(AMQPSendLimit?.self),
        ObjectIdentifier(AMQPMemoryBudget?.self), ObjectIdentifier(AMQPRateLimit?.self),
    ]

    private static func article() throws -> Article { try Article(path: "Documentation/buffers.md") }

    @Test func eachDefaultInTheTablesIsTheDefaultOfTheSetting() throws {
        let article = try Self.article()
        var rows: [String: String] = [:]
        func add(_ row: [String], columns: Int, value: Int) throws {
            try #require(row.count == columns, "\(row)")
            let former = rows.updateValue(row[value], forKey: row[0])
            #expect(former == nil, "\(row[0]) has two rows")
        }
        for title in Self.settingTables {
            for row in try article.rows(under: title) { try add(row, columns: 6, value: 3) }
        }
        for row in try article.rows(under: "Time limit") { try add(row, columns: 4, value: 2) }
        let defaults = Self.defaults()
        #expect(defaults.count > 40)
        for (name, value) in defaults where !Self.noLimits.contains(name) {
            #expect(rows[name] == value, "\(name) has the default \(value)")
        }
        for name in rows.keys { #expect(defaults[name] != nil, "there is no setting \(name)") }
        for name in Self.noLimits { #expect(defaults[name] != nil, "there is no setting \(name)") }
    }

    @Test func eachFixedLimitInTheTableIsThatOfTheCode() throws {
        let values = [
            "SocketWriter.budget": Self.bytes(SocketWriter.budget),
            "SendFeed.batch": Self.bytes(SendFeed.batch),
            "ReceiveBudget.read": Self.bytes(ReceiveBudget.read),
            "AMQPMemoryBudget.margin": Self.bytes(AMQPMemoryBudget.margin),
            "AMQPSender.streamPiece": Self.bytes(AMQPSender.streamPiece),
            "ArrivalChunk.limit": Self.bytes(ArrivalChunk.limit),
            "ChunkPool": Self.bytes(ChunkPool.size * ChunkPool.most),
            "DispositionPace.mostWaiting": Self.grouped(DispositionPace.mostWaiting),
            "CreditWindow.unboundedCredit": Self.grouped(CreditWindow.unboundedCredit),
            "ValueGuard.depth": Self.grouped(ValueGuard.depth),
            "ValueGuard.elements": Self.grouped(ValueGuard.elements),
            "AMQPDecodingLimits.highestDepth": Self.grouped(AMQPDecodingLimits.highestDepth),
            "FrameScanner.headLength": Self.bytes(FrameScanner.headLength),
            "MarkedTag.longest": Self.bytes(MarkedTag.longest),
            "FlowEvents.limit": Self.grouped(FlowEvents.limit),
            "ClientHosts.limit": Self.grouped(ClientHosts.limit),
            "SendTimes.limit": Self.grouped(SendTimes.limit),
        ]
        // The library exposes these constants in one file only, or sets them through NIO.
        let unreachable: Set<String> = [
            "NotSentLimit.bytes", "ReadController.mostUnwritten", "SocketReader.buffers",
            "ReceiverStreams.longestBeginning", "SocketWriter.largestOutput", "ConnectionHandler.detachLimit",
            "ClientSupervisor.events", "AMQPTLSSource.maxFileSize",
            // This constant is in another module.
            "TopologyRecord.limit",
        ]
        let rows = try Self.article().rows(under: "Fixed limit")
        for row in rows {
            try #require(row.count == 4, "\(row)")
            let name = row[2]
            if let value = values[name] {
                #expect(row[1] == value, "\(name)")
            } else {
                #expect(unreachable.contains(name), "\(name) is not compared with the code")
            }
        }
        for name in values.keys { #expect(rows.contains { $0[2] == name }, "\(name) has no row") }
    }

    // MARK: The defaults of the code

    /// Returns each setting that is a size, a count or a time, with its default in words.
    private static func defaults() -> [String: String] {
        var defaults: [String: String] = [:]
        func add(_ name: String, _ value: Any, differingFrom plain: Any? = nil) {
            let plain = plain.map { Self.settings(of: $0) }
            for (label, text) in Self.settings(of: value) where plain?[label] != text {
                defaults["\(name).\(label)"] = text
            }
        }
        let connection = AMQPConnection.Configuration()
        let session = AMQPSession.Configuration()
        let sender = AMQPSender.Configuration()
        let receiver = AMQPReceiver.Configuration()
        let listener = AMQPListener.Configuration()
        let client = AMQPClient.Configuration()
        let clientSender = AMQPClient.Sender.Configuration()
        let consumer = AMQPConsumer.Configuration(source: "q")
        add("AMQPConnection.Configuration", connection)
        add("AMQPSession.Configuration", session)
        add("AMQPSender.Configuration", sender)
        add("AMQPReceiver.Configuration", receiver)
        add("AMQPListener.Configuration", listener)
        add("AMQPClient.Configuration", client)
        add("AMQPClient.Recovery", client.recovery)
        add("AMQPClient.Sender.Configuration", clientSender)
        add("AMQPConsumer.Configuration", consumer)
        add("AMQPSASL", connection.sasl)
        add("AMQPServerSASL", listener.sasl)
        add("AMQPMetrics", AMQPMetrics())
        add("AMQPDecodingLimits", AMQPDecodingLimits())
        add("AMQPSendOptions", AMQPSendOptions())
        add("AMQPRateLimit", AMQPRateLimit())
        // A configuration that contains another one may change its defaults.
        add("AMQPListener.Configuration.connection", listener.connection, differingFrom: connection)
        add("AMQPClient.Configuration.connection", client.connection, differingFrom: connection)
        add("AMQPClient.Configuration.session", client.session, differingFrom: session)
        add("AMQPClient.Sender.Configuration.link", clientSender.link, differingFrom: sender)
        add("AMQPConsumer.Configuration.receiver", consumer.receiver, differingFrom: receiver)
        return defaults
    }

    private static func settings(of value: Any) -> [String: String] {
        var settings: [String: String] = [:]
        for child in Mirror(reflecting: value).children {
            if let label = child.label, let text = Self.text(of: child.value) { settings[label] = text }
        }
        return settings
    }

    /// Returns a size, a count or a time in the words of the tables; `nil` for any other value.
    private static func text(of value: Any) -> String? {
        switch value {
        case let bytes as AMQPByteCount: return bytes.description
        case let limit as AMQPSendLimit: return limit.high.description
        case let budget as AMQPMemoryBudget: return budget.limit.description
        case let time as Duration: return Self.time(time)
        case let window as AMQPReceiver.Window:
            guard case .automatic(let bytes) = window.policy else { return "\(window.policy)" }
            return "automatic, \(Self.bytes(bytes))"
        case let prefetch as AMQPConsumer.Prefetch:
            guard case .automatic(let limit) = prefetch.kind else { return "\(prefetch.kind)" }
            return "automatic, \(Self.grouped(limit))"
        case let limit as AMQPRateLimit: return "\(limit)"
        case let count as any BinaryInteger: return Self.grouped(count)
        default: return Self.optionalLimits.contains(ObjectIdentifier(type(of: value))) ? "none" : nil
        }
    }

    private static func bytes(_ count: Int) -> String { AMQPByteCount(count).description }

    private static func time(_ time: Duration) -> String {
        let milliseconds = Int(time / .milliseconds(1))
        return milliseconds % 1_000 == 0 ? "\(milliseconds / 1_000) s" : "\(milliseconds) ms"
    }

    /// Returns the digits in groups of three.
    private static func grouped(_ number: some BinaryInteger) -> String {
        let digits = String(number)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { text += "," }
            text.append(digit)
        }
        return text
    }
}
