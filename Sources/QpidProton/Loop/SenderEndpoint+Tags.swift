internal import NIOCore

// Delivery-tags and message-formats of the application's choice. Links without any keep no tags.

extension SenderEndpoint {
    /// Begins the delivery of a message with options, or of any message on a link on which the application chooses tags.
    ///
    /// Throws where the chosen tag is in use, or the message has expired.
    func makeChosenDelivery(_ message: PendingMessage) throws(AMQPError) -> ProtonDelivery? {
        let kept = message.hasChoice ? self.handler.choices.removeValue(forKey: message.outcome.number) : nil
        let choice = kept?.choice
        if let kept, let choice {
            // A message that came with the last mail leaves at once.
            if kept.mail != self.handler.choiceMail, let error = choice.expiry(at: self.handler.eventLoop.now) {
                throw error
            }
            self.begunChoice = choice
            if choice.isVisible, self.tagsInUse == nil { self.tagsInUse = self.unsettledTags }
        }
        if self.tagsInUse == nil { return self.makePlainDelivery() }
        var tag = choice?.tag ?? self.ownTag
        if choice?.tag == nil {
            while self.tagsInUse?[tag] != nil {
                self.skippedTags += 1
                tag = self.ownTag
            }
        } else if self.tagsInUse?[tag] != nil {
            throw .tagInUse(tag)
        }
        self.begun += 1
        // One that is sent settled is never unsettled.
        if !message.isSettled { self.tagsInUse?[tag] = self.begun }
        if let format = choice?.format, format != 0 {
            self.handler.frames.sendsFormats = true
            tag = MarkedTag.bytes(tag, format: format)
        }
        return tag.withUnsafeBytes { self.link.beginDelivery(tag: $0) }
    }

    /// The library's tag of the next message.
    private var ownTag: [UInt8] { Self.withTag(self.begun + 1 + self.skippedTags) { Array($0) } }

    /// Lends a number as a tag. Leading zeros are left out: a tag has 1 to 8 bytes, where AMQP allows 32.
    @inline(__always)
    static func withTag<Result>(_ number: Int, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withUnsafeBytes(of: number.bigEndian) { bytes in
            body(UnsafeRawBufferPointer(rebasing: bytes.suffix(8 - number.leadingZeroBitCount / 8)))
        }
    }

    /// Called before anything is chosen: each tag is the number of its message.
    private var unsettledTags: [[UInt8]: Int] {
        var tags: [[UInt8]: Int] = [:]
        for current in self.link.unsettled { tags[Self.tag(of: current)] = Self.number(current.tag) }
        return tags
    }

    private static func tag(of delivery: ProtonDelivery) -> [UInt8] {
        Array(MarkedTag.read(delivery.tag)?.tag ?? delivery.tag)
    }

    /// A delivery is about to be settled, and its tag may be used again.
    func freeTag(of delivery: ProtonDelivery) {
        if self.tagsInUse != nil { self.tagsInUse?[Self.tag(of: delivery)] = nil }
    }

    /// The number of the message of a delivery whose tag has not been freed.
    func number(of delivery: ProtonDelivery) -> Int {
        guard let tags = self.tagsInUse else { return Self.number(delivery.tag) }
        return tags[Self.tag(of: delivery)] ?? 0
    }

    /// The number that the library has made a tag of.
    private static func number(_ tag: UnsafeRawBufferPointer) -> Int {
        Int(truncatingIfNeeded: tag.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
    }

    /// Fails a message that may not begin. A piece of it has been taken out of the lane, and nothing of it handed to Proton.
    func refuse(_ slice: SendQueue<SenderEndpoint>.Slice, _ error: AMQPError) {
        let message = slice.message
        var bytes = slice.ledgerBytes
        if slice.endsBytes { slice.bytes.done() }
        if !slice.isLast, let lane = self.lane, let (_, rest) = self.handler.queue.dropCurrent(lane) { bytes += rest }
        self.handler.outbox.release([(bytes, message.node)])
        self.meter?.fail(error)
        message.outcome.resolve(.failure(error))
        // Its credit is for the next message, or for a drain; a flush may have waited for it.
        self.flowed()
        self.handler.isPumpNeeded = true
    }

    /// The options of a message that waits, or that has begun.
    func options(of message: PendingMessage) -> AMQPSendOptions {
        guard message.hasChoice else { return AMQPSendOptions() }
        return (self.handler.choices[message.outcome.number]?.choice ?? self.begunChoice)?.options ?? AMQPSendOptions()
    }
}

extension AMQPError {
    fileprivate static func tagInUse(_ tag: [UInt8]) -> AMQPError {
        let text =
            "the delivery-tag 0x\(tag.hex) belongs to a delivery of the link that is not settled; "
            + "choose another one, or wait until that delivery is settled"
        return AMQPError(scope: .delivery, condition: .resourceLocked, detail: text, fate: .notSent)
    }
}

/// What was chosen for a message that has not begun to be sent.
struct KeptChoice {
    let choice: SendChoice
    /// The number of the mail with which it came.
    let mail: Int
}

extension ConnectionHandler {
    /// The bytes that a chosen tag, marked with a format, may add to a transfer frame.
    static let chosenTagRoom = 24

    /// Keeps what was chosen for messages that have come with the mail.
    func keepChoices(_ choices: inout [UInt: SendChoice]) {
        if let next = choices.values.compactMap(\.deadline).min() { self.expiry.wake(self, at: next) }
        self.choiceMail += 1
        for (number, choice) in choices { self.choices[number] = KeptChoice(choice: choice, mail: self.choiceMail) }
        choices.removeAll()
        guard !self.hasChosen, self.choices.values.contains(where: \.choice.isVisible) else { return }
        // Long tags leave less room in each frame: what is counted as a transfer must be one at least.
        self.hasChosen = true
        self.transferPayload = max(256, self.transferPayload - Self.chosenTagRoom)
    }

    func takeChoice(of message: PendingMessage) -> SendChoice? {
        message.hasChoice ? self.choices.removeValue(forKey: message.outcome.number)?.choice : nil
    }

    /// A message that has not begun will not be sent.
    func dropChoice(of message: PendingMessage) {
        if message.hasChoice { self.choices[message.outcome.number] = nil }
    }
}
