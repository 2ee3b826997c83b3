// SPDX-License-Identifier: Apache-2.0

internal import CoreMetrics
internal import Logging

/// Reports losses and recoveries: one warning for each loss, one line for each recovery, and the metrics.
struct ClientLog: Sendable {
    let logger: Logger
    let metrics: AMQPMetrics?

    /// The logger of the connections. The client logs the loss of a link once, so the connections do not.
    var connectionLogger: Logger {
        let logger = self.logger
        return Logger(label: logger.label) { _ in QuietLosses(inner: logger.handler) }
    }

    private func metadata(
        _ fields: KeyValuePairs<String, Logger.MetadataValue>,
        _ error: AMQPError? = nil
    ) -> Logger.Metadata {
        var metadata: Logger.Metadata = [:]
        for (key, value) in fields { metadata[key] = value }
        if let error {
            metadata["amqp.condition"] = "\(error.condition)"
            metadata["amqp.error"] = "\(error)"
        }
        return metadata
    }

    func attempt(_ number: Int, _ url: AMQPURL) {
        self.metrics?.count(.clientAttempts)
        self.logger.debug("connecting", metadata: self.metadata(["amqp.peer": "\(url)", "amqp.attempt": "\(number)"]))
    }

    /// Warns of the first failure before the first connection, so that a wrong host or port is seen at once.
    func attemptFailed(_ number: Int, _ url: AMQPURL, _ error: AMQPError, isFirst: Bool) {
        self.logger.log(
            level: isFirst ? .warning : .debug,
            "connecting failed",
            metadata: self.metadata(["amqp.peer": "\(url)", "amqp.attempt": "\(number)"], error)
        )
    }

    func opened(_ url: AMQPURL) {
        self.logger.info("the client is connected", metadata: self.metadata(["amqp.peer": "\(url)"]))
    }

    func hookFailed(_ generation: Int, _ url: AMQPURL, _ error: AMQPError) {
        self.logger.warning(
            "onConnect failed",
            metadata: self.metadata(["amqp.peer": "\(url)", "amqp.generation": "\(generation)"], error)
        )
    }

    func lost(_ error: AMQPError, _ url: AMQPURL?, _ figures: LossFigures) {
        self.metrics?.count(.clientLosses)
        self.metrics?.count(.clientInDoubt, figures.inDoubt)
        var metadata = self.metadata(Self.fields(figures), error)
        metadata["amqp.peer"] = url.map { "\($0)" }
        self.logger.warning("the connection was lost", metadata: metadata)
    }

    func linkLost(_ link: any ClientLink, _ error: AMQPError, _ figures: LossFigures) {
        self.metrics?.count(.clientLinkLosses)
        self.metrics?.count(.clientInDoubt, figures.inDoubt)
        var metadata = self.metadata(Self.fields(figures), error)
        metadata.merge(Self.fields(link)) { $1 }
        self.logger.warning("a link was lost", metadata: metadata)
    }

    /// Logs nothing for a link that was never attached: its call throws the error.
    func linkFailed(_ link: any ClientLink, _ error: AMQPError) {
        guard case .success? = link.first.answer else { return }
        self.logger.warning(
            "a link has ended for good",
            metadata: self.metadata([:], error).merging(Self.fields(link)) { $1 }
        )
    }

    private static func fields(_ link: any ClientLink) -> Logger.Metadata {
        var metadata: Logger.Metadata = ["amqp.link": "\(link.name)"]
        metadata["amqp.address"] = link.address.map { "\($0)" }
        return metadata
    }

    private static func fields(_ figures: LossFigures) -> KeyValuePairs<String, Logger.MetadataValue> {
        [
            "amqp.unsettled": "\(figures.inDoubt)", "amqp.bytes": "\(figures.bytes)",
            "amqp.deliveries": "\(figures.dropped)",
        ]
    }

    func replayed(_ count: Int) { self.metrics?.count(.clientReplayed, count) }

    func recovered(_ generation: Int, _ url: AMQPURL?, replayed: Int, after time: Duration) {
        self.metrics?.timer(.clientDown).recordNanoseconds(time.nanoseconds)
        var metadata = self.metadata([
            "amqp.generation": "\(generation)", "amqp.messages": "\(replayed)", "amqp.seconds": "\(time.seconds)",
        ])
        metadata["amqp.peer"] = url.map { "\($0)" }
        self.logger.info("the connection is open again", metadata: metadata)
    }

    func closed(_ error: AMQPError?, _ result: AMQPCloseResult) {
        if let error {
            self.logger.error("the client has ended", metadata: self.metadata(["amqp.detail": "\(result)"], error))
        } else if result.summary != nil {
            self.logger.warning(
                "the client has closed with unfinished work",
                metadata: self.metadata(["amqp.detail": "\(result)"], result.error)
            )
        } else {
            self.logger.debug("the client is closed", metadata: self.metadata(["amqp.detail": "\(result)"]))
        }
    }
}

extension Duration {
    /// The duration in seconds, rounded to milliseconds.
    fileprivate var seconds: Double { (self / .milliseconds(1)).rounded() / 1_000 }
}

/// Forwards a log, but lowers warnings about messages that the client sends again to debug level.
private struct QuietLosses: LogHandler {
    var inner: any LogHandler

    var metadata: Logger.Metadata {
        get { self.inner.metadata }
        set { self.inner.metadata = newValue }
    }
    var logLevel: Logger.Level {
        get { self.inner.logLevel }
        set { self.inner.logLevel = newValue }
    }
    var metadataProvider: Logger.MetadataProvider? {
        get { self.inner.metadataProvider }
        set { self.inner.metadataProvider = newValue }
    }

    subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { self.inner[metadataKey: key] }
        set { self.inner[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        var event = event
        let keys = event.metadata ?? [:]
        let isOfLoss = keys["amqp.unsent"] != nil || keys["amqp.messages"] != nil && keys["amqp.condition"] != nil
        if event.level == .warning, isOfLoss {
            guard self.inner.logLevel <= .debug else { return }
            event.level = .debug
        }
        self.inner.log(event: event)
    }
}
