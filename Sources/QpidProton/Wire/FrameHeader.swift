// SPDX-License-Identifier: Apache-2.0

/// The fields of performatives that flow control and the guards need.
enum FrameHeader {
    case open(Open)
    case begin(channel: UInt16, Begin)
    case attach(channel: UInt16, Attach)
    case flow(channel: UInt16, Flow)
    case transfer(channel: UInt16, Transfer)
    case disposition(first: UInt32, last: UInt32)
    case detach(channel: UInt16, handle: UInt32)
    case end(channel: UInt16)
    case close
    /// A known performative with unreadable fields.
    case unreadable(String)
    /// A frame that is not of AMQP, with the cause. Proton drops some of these frames, with all other bytes of the same
    /// read.
    case foreign(String)

    struct Open {
        /// The peer's max-frame-size in bytes; `nil` without a limit.
        var maxFrameSize: UInt32?
        /// The field that Proton would cut at a zero byte.
        var flaw: String?
    }

    struct Begin {
        var remoteChannel: UInt16?
        var nextOutgoingID: UInt32
        var incomingWindow: UInt32
        var outgoingWindow: UInt32?
    }

    struct Attach {
        var name: String
        var handle: UInt32
        /// The role of the attaching side.
        var isReceiver: Bool
        /// The initial-delivery-count; `nil` if it is absent or beyond the head.
        var initialDeliveryCount: UInt32?
        /// The field that Proton would cut at a zero byte.
        var flaw: String?
        var capabilities = LinkCapabilities()
    }

    /// A flow. Unreadable fields after the windows count as absent, because only snapshots depend on them.
    struct Flow {
        var nextIncomingID: UInt32?
        var incomingWindow: UInt32
        var nextOutgoingID: UInt32?
        var outgoingWindow: UInt32?
        /// The handle of the link; `nil` for a flow of the session alone.
        var handle: UInt32?
        var deliveryCount: UInt32?
        var linkCredit: UInt32?
        var available: UInt32?
        var drain = false
        var echo = false
        /// The properties; `nil` if there are none, or if the head does not contain all of them.
        var properties: AMQPMap?
    }

    struct Transfer {
        var handle: UInt32
        var deliveryID: UInt32?
        /// The message-format; 0 if it is absent.
        var messageFormat: UInt32
        var hasMore: Bool
        /// Whether the frame has room for a state with a symbolic descriptor.
        var mayNameState: Bool
        /// Whether the message is aborted; also true if the field is unreadable.
        var mayBeAborted: Bool
    }

    /// Returns the size of a frame in bytes.
    static func size(_ head: UnsafeRawBufferPointer) -> Int {
        FramePrefix(head)?.size ?? 0
    }

    /// Reads a frame, or its head; `nil` for an empty frame.
    init?(_ head: UnsafeRawBufferPointer) {
        guard let prefix = FramePrefix(head) else { return nil }
        let channel = prefix.channel
        guard let offset = prefix.bodyOffset, offset <= head.count else {
            self = .foreign("a frame of type \(prefix.type) whose data offset is \(prefix.dataOffset)")
            return
        }
        guard offset < head.count else { return nil }
        var fields = FieldReader(head, offset: offset)
        switch fields.descriptor() {
        case 0x10: self = Self.open(&fields) ?? .unreadable("open")
        case 0x11: self = Self.begin(channel, &fields) ?? .unreadable("begin")
        case 0x12: self = Self.attach(channel, &fields) ?? .unreadable("attach")
        case 0x13: self = Self.flow(channel, &fields) ?? .unreadable("flow")
        case 0x14:
            self = Transfer(&fields).map { .transfer(channel: channel, $0) } ?? .unreadable("transfer")
        case 0x15: self = Self.disposition(&fields) ?? .unreadable("disposition")
        case 0x16: self = Self.detach(channel, &fields) ?? .unreadable("detach")
        case 0x17: self = fields.isSoundList() ? .end(channel: channel) : .unreadable("end")
        case 0x18: self = fields.isSoundList() ? .close : .unreadable("close")
        default: self = .foreign("a frame that is no performative of AMQP")
        }
    }

    /// Returns the channel of a frame, if it is a transfer in Proton's form.
    static func channelOfTransfer(_ head: UnsafeRawBufferPointer) -> UInt16? {
        guard let prefix = FramePrefix(head), prefix.dataOffset == 2, prefix.type == 0,
            ByteCursor(head, offset: FramePrefix.count).usualDescriptor == 0x14
        else { return nil }
        return prefix.channel
    }

    private static func open(_ fields: inout FieldReader) -> Self? {
        guard fields.isSoundList(), let isContainerCut = fields.passText(), let isHostnameCut = fields.passText() else {
            return nil
        }
        var open = Open(maxFrameSize: fields.uint()?.value)
        if isContainerCut { open.flaw = "container-id" } else if isHostnameCut { open.flaw = "hostname" }
        return .open(open)
    }

    private static func begin(_ channel: UInt16, _ fields: inout FieldReader) -> Self? {
        guard fields.list(), let remoteChannel = fields.ushort(), let id = fields.uint()?.value,
            let window = fields.uint()?.value
        else { return nil }
        let begin = Begin(
            remoteChannel: remoteChannel.value,
            nextOutgoingID: id,
            incomingWindow: window,
            outgoingWindow: fields.uint()?.value
        )
        return .begin(channel: channel, begin)
    }

    private static func attach(_ channel: UInt16, _ fields: inout FieldReader) -> Self? {
        guard fields.isSoundList(), let name = fields.string(), let handle = fields.uint()?.value,
            let role = fields.bool()?.value
        else { return nil }
        var attach = Attach(name: name, handle: handle, isReceiver: role)
        // These fields follow the settle modes. The unsettled map precedes the count.
        guard fields.passAny(), fields.passAny(), let isSourceCut = fields.passTerminus(),
            let isTargetCut = fields.passTerminus()
        else { return .attach(channel: channel, attach) }
        if isSourceCut {
            attach.flaw = "address of its source"
        } else if isTargetCut {
            attach.flaw = "address of its target"
        }
        guard fields.passAny(), fields.passAny(), let count = fields.uint() else {
            return .attach(channel: channel, attach)
        }
        attach.initialDeliveryCount = count.value
        // The capabilities follow the max-message-size.
        if fields.passAny() {
            attach.capabilities.offered = fields.symbols()
            attach.capabilities.desired = fields.symbols()
        }
        return .attach(channel: channel, attach)
    }

    private static func flow(_ channel: UInt16, _ fields: inout FieldReader) -> Self? {
        guard fields.list(), let id = fields.uint(), let window = fields.uint()?.value else { return nil }
        var flow = Flow(nextIncomingID: id.value, incomingWindow: window)
        flow.nextOutgoingID = fields.uint()?.value
        flow.outgoingWindow = fields.uint()?.value
        flow.handle = fields.uint()?.value
        flow.deliveryCount = fields.uint()?.value
        flow.linkCredit = fields.uint()?.value
        flow.available = fields.uint()?.value
        flow.drain = fields.bool()?.value == true
        flow.echo = fields.bool()?.value == true
        flow.properties = fields.map()
        return .flow(channel: channel, flow)
    }

    /// Returns the channel and the fields of a frame, if it is a transfer in the usual form. This form is by far the
    /// most frequent.
    static func transfer(_ head: UnsafeRawBufferPointer) -> (channel: UInt16, Transfer)? {
        guard let channel = self.channelOfTransfer(head) else { return nil }
        var fields = FieldReader(head, offset: 11)
        return Transfer(&fields).map { (channel, $0) }
    }

    private static func disposition(_ fields: inout FieldReader) -> Self? {
        guard fields.list(), fields.bool() != nil, let first = fields.uint()?.value, let last = fields.uint(),
            fields.isSound()
        else { return nil }
        return .disposition(first: first, last: last.value ?? first)
    }

    private static func detach(_ channel: UInt16, _ fields: inout FieldReader) -> Self? {
        guard fields.isSoundList(), let handle = fields.uint()?.value else { return nil }
        return .detach(channel: channel, handle: handle)
    }
}

extension FrameHeader.Transfer {
    /// Reads the fields of a transfer; `nil` if a field has a wrong type.
    @inline(__always)
    init?(_ fields: inout FieldReader) {
        // Skip the field `settled`, which only Proton needs.
        guard fields.list(), let handle = fields.uint()?.value, let id = fields.uint(), fields.passBinary(),
            let format = fields.uint(), fields.bool() != nil, let more = fields.bool(), fields.isSound()
        else { return nil }
        self.messageFormat = format.value ?? 0
        self.mayNameState = fields.left > 12
        self.handle = handle
        self.deliveryID = id.value
        self.hasMore = more.value == true
        self.mayBeAborted = self.hasMore
        // The field `aborted` follows the settle mode, the state and `resume`.
        if self.hasMore, fields.passAny(), fields.passAny(), fields.bool() != nil, let aborted = fields.bool() {
            self.mayBeAborted = aborted.value == true
        }
    }
}
