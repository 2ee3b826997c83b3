// SPDX-License-Identifier: Apache-2.0

import NIOCore

extension ValueReader {
    /// The sections read so far, and the rare parts of a message.
    private struct Sections {
        /// One bit for each section.
        private var seen: UInt16 = 0
        /// The highest section so far.
        var highest: UInt8 = 0
        var extras: AMQPMessage.Extras?

        @inline(__always)
        private static func bit(_ section: UInt8) -> UInt16 { 1 << UInt16(section & 0x0F) }

        @inline(__always)
        func contains(_ section: UInt8) -> Bool { self.seen & Self.bit(section) != 0 }

        var containsBody: Bool {
            self.contains(Section.data) || self.contains(Section.sequence) || self.contains(Section.value)
        }

        @inline(__always)
        mutating func insert(_ section: UInt8) {
            self.seen |= Self.bit(section)
            if section > self.highest { self.highest = section }
        }

        mutating func withExtras(_ body: (inout AMQPMessage.Extras) -> Void) {
            var extras = self.extras ?? AMQPMessage.Extras()
            self.extras = nil
            body(&extras)
            self.extras = extras
        }
    }

    /// Reads a message: sections up to the end of the bytes.
    mutating func message(into message: inout AMQPMessage) throws(CodecFault) {
        var sections = Sections()
        while !self.isAtEnd {
            let section = try self.section(after: sections)
            switch section {
            case Section.header:
                message.header = try self.header(&sections)
                if message.header.isEmpty { message.emptySections.insert(.header) }
            case Section.deliveryAnnotations:
                let map = try self.sectionMap(orEmpty: .deliveryAnnotations, of: &message)
                if sections.extras == nil {
                    sections.extras = AMQPMessage.Extras(deliveryAnnotations: map)
                } else {
                    sections.extras?.deliveryAnnotations = map
                }
            case Section.messageAnnotations:
                let map = try self.sectionMap(orEmpty: .messageAnnotations, of: &message)
                if sections.extras == nil { sections.extras = AMQPMessage.Extras() }
                sections.extras?.messageAnnotations = map
            case Section.properties:
                if let properties = try self.properties(&sections) {
                    message.properties = properties
                } else {
                    message.emptySections.insert(.properties)
                }
            case Section.applicationProperties:
                message.applicationProperties = try self.sectionMap(orEmpty: .applicationProperties, of: &message)
            case Section.data:
                let bytes = try self.sectionBinary()
                if sections.contains(Section.data) {
                    message.storedBody.append(data: bytes)
                } else {
                    message.storedBody = .data(bytes)
                }
            case Section.sequence:
                message.storedBody.append(sequence: try self.sectionList())
            case Section.value:
                message.storedBody = .value(try self.value())
            default:
                let map = try self.sectionMap(orEmpty: .footer, of: &message)
                if sections.extras == nil { sections.extras = AMQPMessage.Extras() }
                sections.extras?.footer = map
            }
            sections.insert(section)
        }
        if let extras = sections.extras { message.extrasBox = CopyOnWriteBox(extras) }
    }

    /// Returns the number of the next section, after a check that it may follow the earlier ones.
    @inline(__always)
    private mutating func section(after sections: borrowing Sections) throws(CodecFault) -> UInt8 {
        let start = self.offset
        let section = if let usual = try self.usualSection() { usual } else { try self.unusualSection() }
        if section > sections.highest {
            // A message has only one of the three kinds of body.
            let isBody = section >= Section.data && section <= Section.value
            if isBody, sections.highest >= Section.data { throw CodecFault(.mixedBody, at: start, Int(section)) }
        } else {
            try self.checkUnordered(section, sections, at: start)
        }
        return section
    }

    /// Checks a section that follows an equal or later section in AMQP's order.
    ///
    /// The order has no meaning. The message is therefore unambiguous if the section occurs once, or is another section
    /// of the body's kind.
    private mutating func checkUnordered(_ section: UInt8, _ sections: borrowing Sections, at start: Int)
        throws(CodecFault)
    {
        let isBody = section >= Section.data && section <= Section.value
        let mayRepeat = section == Section.data || section == Section.sequence
        if sections.contains(section) {
            guard mayRepeat else { throw CodecFault(.sectionDoubled, at: start, Int(section)) }
        } else if isBody, sections.containsBody {
            throw CodecFault(.mixedBody, at: start, Int(section))
        }
        if self.isStrict, section < sections.highest { throw CodecFault(.sectionOutOfOrder, at: start, Int(section)) }
        // An empty section needs more memory than bytes, so it counts as an element.
        try self.charge(1)
    }

    /// Skips a descriptor of the usual form and returns the number of its section; `nil` for another form.
    @inline(__always)
    private mutating func usualSection() throws(CodecFault) -> UInt8? {
        guard let section = self.cursor.usualDescriptor, section >= Section.header, section <= Section.footer else {
            return nil
        }
        try self.skip(3)
        return section
    }

    /// Skips a descriptor of any form and returns the number of its section.
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
        guard code == Code.map8 || code == Code.map32 else {
            try self.checkNullSection(code, .map)
            message.emptySections.insert(flag)
            return AMQPMap()
        }
        let map = try self.map(wide: code == Code.map32)
        if map.isEmpty { message.emptySections.insert(flag) }
        return map
    }

    private mutating func sectionBinary() throws(CodecFault) -> ByteBuffer {
        let code = try self.fixed(UInt8.self)
        guard code == Code.binary8 || code == Code.binary32 else {
            try self.checkNullSection(code, .binary)
            return ByteBuffer()
        }
        return try self.binary(wide: code == Code.binary32)
    }

    private mutating func sectionList() throws(CodecFault) -> [AMQPValue] {
        let code = try self.fixed(UInt8.self)
        switch code {
        case Code.list0: return []
        case Code.list8, Code.list32: return try self.list(wide: code == Code.list32)
        default:
            try self.checkNullSection(code, .list)
            return []
        }
    }

    /// Accepts null in place of a section's value, because some clients write null for an empty section.
    private func checkNullSection(_ code: UInt8, _ wanted: CodecFault.Wanted) throws(CodecFault) {
        guard code == Code.null, !self.isStrict else { throw CodecFault(wanted: wanted, at: self.offset - 1) }
    }

    /// Returns the fields of a list section; `nil` for the empty list, which has no size and no count, and for null.
    @inline(__always)
    private mutating func sectionFields(maximum: Int) throws(CodecFault) -> (count: Int, outerEnd: Int)? {
        let code = try self.fixed(UInt8.self)
        switch code {
        case Code.list0: return nil
        case Code.list8, Code.list32: return try self.enterFields(wide: code == Code.list32, maximum: maximum)
        default:
            try self.checkNullSection(code, .list)
            return nil
        }
    }

    private mutating func header(_ sections: inout Sections) throws(CodecFault) -> AMQPHeader {
        var header = AMQPHeader()
        guard let (count, outerEnd) = try self.sectionFields(maximum: 5) else { return header }
        for field in 0..<count where try !self.null() {
            let start = self.offset
            let value = try self.value()
            switch (field, value) {
            case (0, .bool(let durable)): header.durable = durable
            case (1, .ubyte(let priority)): header.priority = priority
            case (2, .uint(let milliseconds)): header.setTimeToLive(milliseconds: milliseconds)
            case (3, .bool(let isFirst)): header.firstAcquirer = isFirst
            case (4, .uint(let deliveryCount)): header.deliveryCount = deliveryCount
            default:
                guard !self.isStrict else { throw CodecFault(wanted: Self.headerTypes[field], at: start) }
                sections.withExtras { $0.mistypedFields[FieldNames.header[field]] = value }
            }
        }
        try self.leaveFields(to: outerEnd)
        return header
    }

    private static let headerTypes: [CodecFault.Wanted] = [.boolean, .ubyte, .uint, .boolean, .uint]

    /// Checks the properties and returns them in their received form; `nil` if no property is set.
    private mutating func properties(_ sections: inout Sections) throws(CodecFault) -> AMQPProperties? {
        guard let (count, outerEnd) = try self.sectionFields(maximum: 13) else { return nil }
        let start = self.offset
        var isAnySet = false
        var isAnyMistyped = false
        for field in 0..<count where try !self.null() {
            isAnySet = true
            let fieldStart = self.offset
            guard let wanted = try self.passProperty(field) else { continue }
            guard !self.isStrict else { throw CodecFault(wanted: wanted, at: fieldStart) }
            isAnyMistyped = true
        }
        let end = self.offset
        try self.leaveFields(to: outerEnd)
        guard isAnySet else { return nil }
        let bytes = self.slice(from: start, to: end)
        return isAnyMistyped
            ? self.mistypedProperties(bytes, count, &sections)
            : AMQPProperties(EncodedProperties(bytes, count: count))
    }

    /// Reads properties with a mistyped field from checked bytes.
    private func mistypedProperties(_ bytes: ByteBuffer, _ count: Int, _ sections: inout Sections) -> AMQPProperties {
        var fields = AMQPProperties.Fields()
        var mistyped: [String: AMQPValue] = [:]
        var offset = 0
        for field in 0..<count {
            let start = offset
            let isRead: Void? = ValueReader.passed(bytes, from: &offset) { (reader) throws(CodecFault) in
                if try !reader.null() { try reader.readProperty(field, into: &fields) }
            }
            guard isRead == nil else { continue }
            offset = start
            mistyped[FieldNames.properties[field]] =
                ValueReader.passed(bytes, from: &offset) { (reader) throws(CodecFault) in try reader.value() }
        }
        sections.withExtras { $0.mistypedFields.merge(mistyped) { _, new in new } }
        var properties = AMQPProperties()
        properties.setFields(fields)
        return properties
    }

    /// Skips a property with the checks of ``readProperties(_:into:)``. If the property has the wrong type, returns the
    /// type that AMQP defines.
    @inline(__always)
    private mutating func passProperty(_ field: Int) throws(CodecFault) -> CodecFault.Wanted? {
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
        return isRight ? nil : wanted
    }

    @inline(__always)
    private static func isMessageID(_ code: UInt8) -> Bool {
        switch code {
        case Code.string8, Code.string32, Code.binary8, Code.binary32, Code.uuid: true
        case Code.ulong, Code.smallUlong, Code.ulong0: true
        default: false
        }
    }

    /// Reads properties from checked bytes.
    mutating func readProperties(_ count: Int, into properties: inout AMQPProperties.Fields) throws(CodecFault) {
        for field in 0..<count where try !self.null() { try self.readProperty(field, into: &properties) }
    }

    @inline(__always)
    private mutating func readProperty(_ field: Int, into properties: inout AMQPProperties.Fields) throws(CodecFault) {
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

    // MARK: Fields

    /// Returns whether the field is null, and skips it if so.
    @inline(__always)
    private mutating func null() throws(CodecFault) -> Bool {
        guard try self.peek() == Code.null else { return false }
        try self.skip(1)
        return true
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
            try self.skip(1)
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
            try self.skip(1)
            return .ulong(UInt64(try self.fixed(UInt8.self)))
        case Code.ulong:
            try self.skip(1)
            return .ulong(try self.fixed(UInt64.self))
        case Code.string8:
            try self.skip(1)
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
