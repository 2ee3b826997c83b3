// SPDX-License-Identifier: Apache-2.0

#if Configuration
    public import Configuration
    public import Logging

    extension AMQPClient {
        /// Creates a client from a configuration, for example of environment variables.
        ///
        /// `amqp.urls` names the peers. <doc:Recovery> lists all keys; each except `amqp.urls` has a default. Errors
        /// and log lines never contain a password.
        ///
        /// - Parameters:
        ///   - reader: The configuration. To give a client its own keys, scope the reader:
        ///     `reader.scoped(to: "orders")`.
        ///   - logger: Receives one warning for each loss and one line for each recovery.
        ///   - change: Changes the settings that were read, and adds settings without a key, such as
        ///     ``Configuration/onConnect``.
        /// - Throws: `AMQPError` with ``AMQPCondition/invalidArgument`` for an unusable value. Its text names the key,
        ///   the value and the remedy.
        public convenience init(
            reader: ConfigReader,
            logger: Logger = Logger(label: "swift-qpid-proton") { _ in SwiftLogNoOpLogHandler() },
            _ change: (inout Configuration) throws(AMQPError) -> Void = { _ in }
        ) throws(AMQPError) {
            let list = try ClientSettings(reader: reader).list(.urls)
            guard !list.isEmpty else {
                let text = "amqp.urls is missing: give one URL or more, for example amqps://broker.example"
                throw AMQPError(condition: .invalidArgument, detail: text)
            }
            var configuration = try Configuration(reader: reader)
            try change(&configuration)
            var urls: [AMQPURL] = []
            for (index, text) in list.enumerated() {
                do throws(AMQPError) {
                    let url = try AMQPURL(text)
                    try configuration.check(url)
                    urls.append(url)
                } catch {
                    var error = error
                    let number = list.count == 1 ? "" : ", number \(index + 1) of \(list.count)"
                    error.detail = "amqp.urls\(number): \(error.detail)"
                    throw error
                }
            }
            self.init(urls: urls, configuration: configuration, logger: logger)
        }
    }

    extension AMQPClient.Configuration {
        /// Creates a configuration from the keys that <doc:Recovery> lists; a setting without a key has its default.
        ///
        /// - Parameter reader: The configuration.
        /// - Throws: `AMQPError` with ``AMQPCondition/invalidArgument`` for an unusable value. Its text names the key,
        ///   the value and the remedy.
        public init(reader: ConfigReader) throws(AMQPError) {
            self.init()
            let settings = ClientSettings(reader: reader)
            try self.readLogin(settings)
            try self.readTLS(settings)
            try self.readRecovery(settings)
            try self.readLimits(settings)
            do throws(AMQPError) {
                try self.validate()
                try self.connection.validate()
                let (capacity, frame) = (self.session.incomingCapacity, self.connection.maxFrameSize)
                guard capacity.bytes >= 2 * frame.bytes else {
                    let text = "incomingCapacity is \(capacity): it must be at least twice amqp.maxFrameSize (\(frame))"
                    throw AMQPError(condition: .invalidArgument, detail: text)
                }
            } catch {
                throw ClientSettings.naming(error)
            }
        }

        /// Checks a URL as each attempt does, so that the error of an unusable URL names its key.
        fileprivate func check(_ url: AMQPURL) throws(AMQPError) {
            try url.validate()
            try url.validateAddress()
            // Both closures replace the login or the certificate before each attempt.
            guard self.credentials == nil, self.tls == nil else { return }
            let hasCertificate = url.isTLS && self.connection.tls.identity != nil
            try self.connection.sasl.validate(url, hasClientCertificate: hasCertificate)
        }

        private mutating func readLogin(_ settings: ClientSettings) throws(AMQPError) {
            let user = try settings.text(.user)
            let password = try settings.text(.password)
            let mechanisms: KeyValuePairs<String, AMQPSASL> = ["ANONYMOUS": .anonymous, "EXTERNAL": .external]
            let mechanism = try settings.choice(.mechanism, mechanisms)
            if let user, let password {
                self.connection.sasl = .plain(username: user, password: password)
            } else if let user {
                let text = "amqp.user is \(user.debugDescription), and amqp.password is missing: give both, or neither"
                throw AMQPError(condition: .invalidArgument, detail: text)
            } else if password != nil {
                let text = "amqp.password is given, and amqp.user is missing: give both, or neither"
                throw AMQPError(condition: .invalidArgument, detail: text)
            }
            if let mechanism { self.connection.sasl = mechanism }
            if try settings.flag(.allowsPlainWithoutTLS) == true {
                self.connection.sasl = self.connection.sasl.allowingPlainWithoutTLS()
            }
            self.connection.containerID = try settings.text(.containerID)
            self.connection.virtualHost = try settings.text(.virtualHost)
        }

        private mutating func readTLS(_ settings: ClientSettings) throws(AMQPError) {
            var tls = AMQPTLS()
            if let path = try settings.text(.tlsAuthorities) { tls.trustRoots = .file(path) }
            switch (try settings.text(.tlsCertificate), try settings.text(.tlsKey)) {
            case (let certificate?, let key?): tls.identity = .files(certificateChain: certificate, privateKey: key)
            case (nil, nil): break
            case (let certificate, _):
                let (given, missing) =
                    certificate == nil
                    ? (ClientKey.tlsKey, ClientKey.tlsCertificate) : (.tlsCertificate, .tlsKey)
                let text = "\(given.rawValue) is given, and \(missing.rawValue) is missing: give both, or neither"
                throw AMQPError(condition: .invalidArgument, detail: text)
            }
            tls.serverName = try settings.text(.tlsServerName)
            tls.verification =
                try settings.choice(
                    .tlsVerification,
                    ["full": AMQPTLS.Verification.full, "chain": .noHostnameVerification, "none": .none]
                ) ?? .full
            tls.minimumVersion =
                try settings.choice(.tlsMinimumVersion, ["1.2": AMQPTLS.Version.tls12, "1.3": .tls13]) ?? .tls12
            self.connection.tls = tls
        }

        private mutating func readRecovery(_ settings: ClientSettings) throws(AMQPError) {
            self.recovery.firstDelay = try settings.seconds(.firstDelay) ?? self.recovery.firstDelay
            self.recovery.longestDelay = try settings.seconds(.longestDelay) ?? self.recovery.longestDelay
            try settings.read(.firstConnectionTimeout, into: &self.recovery.firstConnectionTimeout)
            try settings.read(.giveUpAfter, into: &self.recovery.giveUpAfter)
            self.recovery.announcedHosts =
                try settings.choice(
                    .announcedHosts,
                    ["ignore": AMQPClient.AnnouncedHosts.ignore, "add": .add, "replace": .replace]
                ) ?? .ignore
        }

        private mutating func readLimits(_ settings: ClientSettings) throws(AMQPError) {
            try settings.read(.idleTimeout, into: &self.connection.idleTimeout)
            self.connection.connectTimeout = try settings.seconds(.connectTimeout) ?? self.connection.connectTimeout
            self.connection.openTimeout = try settings.seconds(.openTimeout) ?? self.connection.openTimeout
            self.connection.operationTimeout =
                try settings.seconds(.operationTimeout) ?? self.connection.operationTimeout
            self.shutdownLimit = try settings.seconds(.shutdownLimit) ?? self.shutdownLimit
            self.sessionLimit =
                try settings.count(.sessionLimit, "a number of sessions, for example 16") ?? self.sessionLimit
            self.connection.maxFrameSize = try settings.bytes(.maxFrameSize) ?? self.connection.maxFrameSize
            self.connection.sendLimit = try settings.bytes(.sendLimit).map { AMQPSendLimit(high: $0) }
            self.session.incomingCapacity = try settings.bytes(.incomingCapacity) ?? self.session.incomingCapacity
        }
    }
#endif
