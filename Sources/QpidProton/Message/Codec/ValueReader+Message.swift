import NIOCore

extension ValueReader {
    /// A message: sections up to the end of the bytes.
    mutating func message(into message: inout AMQPMessage) throws(CodecFault) {
        var extras: AMQPMessage.Extras?
        var last: UInt8 = 0
        while !self.isAtEnd {
            let section = try self.section(after: last)
            switch section {
            case Section.header:
                message.header = try self.header()
                if message.header.isEmpty { message.emptySections.insert(.header) }
            case Section.deliveryAnnotations:
                let map = try self.sectionMap(orEmpty: .deliveryAnnotations, of: &message)
                extras = AMQPMessage.Extras(deliveryAnnotations: map)
            case Section.messageAnnotations:
                let map = try self.sectionMap(orEmpty: .messageAnnotations, of: &message)
                if extras == nil { extras = AMQPMessage.Extras() }
                extras?.messageAnnotations = map
            case Section.properties:
                if let properties = try self.properties() {
                    message.properties = AMQPProperties(properties)
                } else {
                    message.emptySections.insert(.properties)
                }
            case Section.applicationProperties:
                message.applicationProperties = try self.sectionMap(orEmpty: .applicationProperties, of: &message)
            case Section.data:
                let bytes = try self.sectionBinary()
                if last < Section.data {
                    message.storedBody = .data(bytes)
                } else {
                    message.storedBody.append(data: bytes)
                }
            case Section.sequence:
                message.storedBody.append(sequence: try self.sectionList())
            case Section.value:
                message.storedBody = .value(try self.value())
            default:
                let map = try self.sectionMap(orEmpty: .footer, of: &message)
                if extras == nil { extras = AMQPMessage.Extras() }
                extras?.footer = map
            }
            last = section
        }
        if let extras { message.extrasBox = CopyOnWriteBox(extras) }
    }

    /// The number of the section that begins here, which must be one that may follow the last one.
    @inline(__always)
    private mutating func section(after last: UInt8) throws(CodecFault) -> UInt8 {
        let start = self.offset
        let section = if let usual = self.usualSection() { usual } else { try self.unusualSection() }
        if section > last {
            // Of the three kinds of body only one may occur.
            let isBody = section >= Section.data && section <= Section.value
            if isBody, last >= Section.data { throw CodecFault(.mixedBody, at: start, Int(section)) }
        } else if section == last {
            guard section == Section.data || section == Section.sequence else {
                throw CodecFault(.sectionDoubled, at: start, Int(section))
            }
            // An empty section takes few bytes and more memory: it counts as an element.
            try self.charge(1)
        } else if section >= Section.data, last <= Section.value {
            throw CodecFault(.mixedBody, at: start, Int(section))
        } else {
            throw CodecFault(.sectionOutOfOrder, at: start, Int(section))
        }
        return section
    }

    /// The number of the section that begins here, whatever the form of its descriptor.
    private mutating func unusualSection() throws(CodecFault) -> UInt8 {
        let start = self.offset
        let code = try self.fixed(UInt8.self)
        guard code == Code.described else { throw CodecFault(.notASection, at: start, Int(code)) }
        let descriptorStart = self.offset
        let descriptor = try self.value()
        guard let section = Section.number(descriptor) else { throw CodecFault(.unknownSection, at: descriptorStart) }
        return section
    }

    // MARK: Sections

    @inline(__always)
    private mutating func sectionMap(
        orEmpty flag: AMQPMessage.EmptySections,
        of message: inout AMQPMessage
    ) throws(CodecFault) -> AMQPMap {
        let code = try self.fixed(UInt8.self)
        guard code == Code.map8 || code == Code.map32 else { throw CodecFault(wanted: .map, at: self.offset - 1) }
        let map = try self.map(wide: code == Code.map32)
        if map.isEmpty { message.emptySections.insert(flag) }
        return map
    }

    private mutating func sectionBinary() throws(CodecFault) -> ByteBuffer {
        let code = try self.fixed(UInt8.self)
        guard code == Code.binary8 || code == Code.binary32 else {
            throw CodecFault(wanted: .binary, at: self.offset - 1)
        }
        return try self.binary(wide: code == Code.binary32)
    }

    private mutating func sectionList() throws(CodecFault) -> [AMQPValue] {
        let code = try self.fixed(UInt8.self)
        switch code {
        case Code.list0: return []
        case Code.list8, Code.list32: return try self.list(wide: code == Code.list32)
        default: throw CodecFault(wanted: .list, at: self.offset - 1)
        }
    }

    /// The fields of a section that is a list; nil for the empty list, which has no size and no count.
    @inline(__always)
    private mutating func sectionFields(maximum: Int) throws(CodecFault) -> (count: Int, outerEnd: Int)? {
        let code = try self.fixed(UInt8.self)
        switch code {
        case Code.list0: return nil
        case Code.list8, Code.list32: return try self.enterFields(wide: code == Code.list32, maximum: maximum)
        default: throw CodecFault(wanted: .list, at: self.offset - 1)
        }
    }

    private mutating func header() throws(CodecFault) -> AMQPHeader {
        var header = AMQPHeader()
        guard let (count, outerEnd) = try self.sectionFields(maximum: 5) else { return header }
        for field in 0..<count where try !self.null() {
            switch field {
            case 0: header.durable = try self.fieldBoolean()
            case 1: header.priority = try self.fieldUByte()
            case 2: header.setTimeToLive(milliseconds: try self.fieldUInt())
            case 3: header.firstAcquirer = try self.fieldBoolean()
            default: header.deliveryCount = try self.fieldUInt()
            }
        }
        try self.leaveFields(to: outerEnd)
        return header
    }

    /// The properties, which are looked through and kept as they came; nil where none is set.
    private mutating func properties() throws(CodecFault) -> EncodedProperties? {
        guard let (count, outerEnd) = try self.sectionFields(maximum: 13) else { return nil }
        let start = self.offset
        var isAnySet = false
        for field in 0..<count where try !self.null() {
            isAnySet = true
            try self.passProperty(field)
        }
        let end = self.offset
        try self.leaveFields(to: outerEnd)
        return isAnySet ? EncodedProperties(self.slice(from: start, to: end), count: count) : nil
    }

    /// Passes over a property, with the checks of ``readProperties(_:into:)``.
    @inline(__always)
    private mutating func passProperty(_ field: Int) throws(CodecFault) {
        let start = self.offset
        let code = try self.peek()
        try self.passValue()
        let (isRight, wanted): (Bool, CodecFault.Wanted) =
            switch field {
            case 0, 5: (Self.isMessageID(code), .messageID)
            case 1: (code & ~Code.wide == Code.binary8, .binary)
            case 6, 7: (code & ~Code.wide == Code.symbol8, .symbol)
            case 8, 9: (code == Code.timestamp, .timestamp)
            case 11: (code == Code.uint || code == Code.smallUint || code == Code.uint0, .uint)
            default: (code & ~Code.wide == Code.string8, .string)
            }
        guard isRight else { throw CodecFault(wanted: wanted, at: start) }
    }

    @inline(__always)
    private static func isMessageID(_ code: UInt8) -> Bool {
        switch code {
        case Code.string8, Code.string32, Code.binary8, Code.binary32, Code.uuid: true
        case Code.ulong, Code.smallUlong, Code.ulong0: true
        default: false
        }
    }

    /// Reads properties that have been passed over.
    mutating func readProperties(_ count: Int, into properties: inout AMQPProperties.Fields) throws(CodecFault) {
        for field in 0..<count where try !self.null() {
            switch field {
            case 0: properties.messageID = try self.fieldMessageID()
            case 1: properties.userID = try self.fieldBinary()
            case 2: properties.to = try self.fieldString()
            case 3: properties.subject = try self.fieldString()
            case 4: properties.replyTo = try self.fieldString()
            case 5: properties.correlationID = try self.fieldMessageID()
            case 6: properties.contentType = try self.fieldSymbol()
            case 7: properties.contentEncoding = try self.fieldSymbol()
            case 8: properties.absoluteExpiryTime = try self.fieldTimestamp()
            case 9: properties.creationTime = try self.fieldTimestamp()
            case 10: properties.groupID = try self.fieldString()
            case 11: properties.groupSequence = try self.fieldUInt()
            default: properties.replyToGroupID = try self.fieldString()
            }
        }
    }

    // MARK: Fields

    /// Whether the field is null, which is then passed over.
    @inline(__always)
    private mutating func null() throws(CodecFault) -> Bool {
        guard try self.peek() == Code.null else { return false }
        self.skip(1)
        return true
    }

    private mutating func fieldBoolean() throws(CodecFault) -> Bool {
        let start = self.offset
        guard case .bool(let value) = try self.value() else { throw CodecFault(wanted: .boolean, at: start) }
        return value
    }

    private mutating func fieldUByte() throws(CodecFault) -> UInt8 {
        let start = self.offset
        guard case .ubyte(let value) = try self.value() else { throw CodecFault(wanted: .ubyte, at: start) }
        return value
    }

    private mutating func fieldUInt() throws(CodecFault) -> UInt32 {
        let start = self.offset
        guard case .uint(let value) = try self.value() else { throw CodecFault(wanted: .uint, at: start) }
        return value
    }

    private mutating func fieldTimestamp() throws(CodecFault) -> AMQPTimestamp {
        let start = self.offset
        guard case .timestamp(let value) = try self.value() else { throw CodecFault(wanted: .timestamp, at: start) }
        return value
    }

    private mutating func fieldBinary() throws(CodecFault) -> ByteBuffer {
        let start = self.offset
        guard case .binary(let value) = try self.value() else { throw CodecFault(wanted: .binary, at: start) }
        return value
    }

    private mutating func fieldString() throws(CodecFault) -> String {
        let start = self.offset
        if try self.peek() == Code.string8 {
            self.skip(1)
            return try self.string(wide: false)
        }
        guard case .string(let value) = try self.value() else { throw CodecFault(wanted: .string, at: start) }
        return value
    }

    private mutating func fieldSymbol() throws(CodecFault) -> AMQPSymbol {
        let start = self.offset
        guard case .symbol(let value) = try self.value() else { throw CodecFault(wanted: .symbol, at: start) }
        return value
    }

    private mutating func fieldMessageID() throws(CodecFault) -> AMQPMessageID {
        let start = self.offset
        let code = try self.peek()
        switch code {
        case Code.smallUlong:
            self.skip(1)
            return .ulong(UInt64(try self.fixed(UInt8.self)))
        case Code.ulong:
            self.skip(1)
            return .ulong(try self.fixed(UInt64.self))
        case Code.string8:
            self.skip(1)
            return .string(try self.string(wide: false))
        default: break
        }
        guard let id = AMQPMessageID(try self.value()) else { throw CodecFault(wanted: .messageID, at: start) }
        return id
    }
}

extension AMQPMessage.StoredBody {
    fileprivate mutating func append(data section: ByteBuffer) {
        switch self {
        case .data(let first): self = .dataSections([first, section])
        case .dataSections(var sections):
            self = .empty
            sections.append(section)
            self = .dataSections(sections)
        default: self = .data(section)
        }
    }

    fileprivate mutating func append(sequence section: [AMQPValue]) {
        guard case .sequence(var sections) = self else {
            self = .sequence([section])
            return
        }
        self = .empty
        sections.append(section)
        self = .sequence(sections)
    }
}
