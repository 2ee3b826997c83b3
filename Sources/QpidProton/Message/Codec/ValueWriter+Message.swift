// SPDX-License-Identifier: Apache-2.0

import NIOCore

extension ValueWriter {
    /// Writes the sections in order: every section that has content or must be present.
    mutating func message(_ message: AMQPMessage) throws(CodecFault) {
        let empty = message.emptySections
        let mistyped = message.extrasBox?.value.mistypedFields ?? [:]
        if !mistyped.isEmpty {
            try self.list(message.header.list(mistyped), Section.header, empty.contains(.header))
        } else if !message.header.isEmpty || empty.contains(.header) {
            try self.header(message.header)
        }
        if let extras = message.extrasBox?.value {
            try self.map(extras.deliveryAnnotations, Section.deliveryAnnotations, empty.contains(.deliveryAnnotations))
            try self.map(extras.messageAnnotations, Section.messageAnnotations, empty.contains(.messageAnnotations))
        } else if empty.contains(.deliveryAnnotations) || empty.contains(.messageAnnotations) {
            try self.map(AMQPMap(), Section.deliveryAnnotations, empty.contains(.deliveryAnnotations))
            try self.map(AMQPMap(), Section.messageAnnotations, empty.contains(.messageAnnotations))
        }
        if !mistyped.isEmpty {
            let fields = message.properties.box?.value ?? AMQPProperties.Fields()
            try self.list(fields.list(mistyped), Section.properties, empty.contains(.properties))
        } else if let box = message.properties.box {
            // The fields are passed by pointer, because a copy would change the reference counts of all fields.
            try withUnsafePointer(to: &box.value) { (fields) throws(CodecFault) in
                try self.properties(fields, evenIfEmpty: empty.contains(.properties))
            }
        } else if empty.contains(.properties) {
            try withUnsafePointer(to: AMQPProperties.Fields()) { (fields) throws(CodecFault) in
                try self.properties(fields, evenIfEmpty: true)
            }
        }
        try self.map(
            message.applicationProperties,
            Section.applicationProperties,
            empty.contains(.applicationProperties)
        )
        try self.body(message.storedBody)
        if let extras = message.extrasBox?.value {
            try self.map(extras.footer, Section.footer, empty.contains(.footer))
        } else if empty.contains(.footer) {
            try self.map(AMQPMap(), Section.footer, true)
        }
    }

    @inline(__always)
    private mutating func begin(_ section: UInt8) throws(CodecFault) {
        try self.room(3)
        self.put(Code.described)
        self.put(Code.smallUlong)
        self.put(section)
    }

    @inline(__always)
    private mutating func map(_ map: AMQPMap, _ section: UInt8, _ evenIfEmpty: Bool) throws(CodecFault) {
        guard evenIfEmpty || !map.isEmpty else { return }
        try self.begin(section)
        try self.map(map)
    }

    /// Writes a section of fields, of which one is mistyped.
    private mutating func list(_ fields: [AMQPValue]?, _ section: UInt8, _ evenIfEmpty: Bool) throws(CodecFault) {
        guard evenIfEmpty || fields != nil else { return }
        try self.begin(section)
        try self.list(fields ?? [])
    }

    private mutating func body(_ body: AMQPMessage.StoredBody) throws(CodecFault) {
        switch body {
        case .empty: break
        case .data(let bytes):
            try self.begin(Section.data)
            try self.binary(bytes)
        case .dataSections(let sections):
            for section in sections {
                try self.begin(Section.data)
                try self.binary(section)
            }
        case .sequence(let sections):
            for section in sections {
                try self.begin(Section.sequence)
                try self.list(section)
            }
        case .value(let value):
            try self.begin(Section.value)
            try self.value(value)
        }
    }

    // MARK: Sections that are lists of fields

    private mutating func header(_ header: AMQPHeader) throws(CodecFault) {
        try self.begin(Section.header)
        let opening = try self.open(count: 5)
        // The room for five fields of at most five bytes.
        try self.room(25)
        var count = 0
        if header.durable {
            self.field(0, &count)
            self.put(Code.true)
        }
        if header.priority != 4 {
            self.field(1, &count)
            self.put(Code.ubyte)
            self.put(header.priority)
        }
        if header.hasTimeToLive {
            self.field(2, &count)
            self.uint(header.timeToLiveMilliseconds)
        }
        if header.firstAcquirer {
            self.field(3, &count)
            self.put(Code.true)
        }
        if header.deliveryCount != 0 {
            self.field(4, &count)
            self.uint(header.deliveryCount)
        }
        try self.closeFields(opening, count: count)
    }

    private mutating func properties(_ properties: UnsafePointer<AMQPProperties.Fields>, evenIfEmpty: Bool)
        throws(CodecFault)
    {
        let start = self.offset
        try self.begin(Section.properties)
        let opening = try self.open(count: 13)
        let count = try self.fields(properties)
        if count == 0, !evenIfEmpty {
            self.offset = start
        } else {
            try self.closeFields(opening, count: count)
        }
    }

    /// Writes the fields. Returns their number including the nulls between them.
    ///
    /// Each field is passed by pointer, because an argument would change a reference count.
    @inline(never)
    private mutating func fields(_ properties: UnsafePointer<AMQPProperties.Fields>) throws(CodecFault) -> Int {
        // A copy of the writer without a pointer to it stays in registers.
        var writer = self
        var count = 0
        try writer.field(0, properties.pointer(to: \.messageID), &count)
        if properties.pointee.userID != nil { try writer.field(1, properties.pointer(to: \.userID), &count) }
        if properties.pointee.to != nil { try writer.field(2, properties.pointer(to: \.to), &count) }
        if properties.pointee.subject != nil { try writer.field(3, properties.pointer(to: \.subject), &count) }
        if properties.pointee.replyTo != nil { try writer.field(4, properties.pointer(to: \.replyTo), &count) }
        try writer.field(5, properties.pointer(to: \.correlationID), &count)
        if properties.pointee.contentType != nil { try writer.field(6, properties.pointer(to: \.contentType), &count) }
        if properties.pointee.contentEncoding != nil {
            try writer.field(7, properties.pointer(to: \.contentEncoding), &count)
        }
        if properties.pointee.absoluteExpiryTime != nil {
            try writer.field(8, properties.pointer(to: \.absoluteExpiryTime), &count)
        }
        if properties.pointee.creationTime != nil {
            try writer.field(9, properties.pointer(to: \.creationTime), &count)
        }
        if properties.pointee.groupID != nil { try writer.field(10, properties.pointer(to: \.groupID), &count) }
        if let groupSequence = properties.pointee.groupSequence {
            try writer.room(13 + 5)
            writer.field(11, &count)
            writer.uint(groupSequence)
        }
        if properties.pointee.replyToGroupID != nil {
            try writer.field(12, properties.pointer(to: \.replyToGroupID), &count)
        }
        self.offset = writer.offset
        return count
    }

    private mutating func closeFields(_ opening: Opening, count: Int) throws(CodecFault) {
        if count == 0 {
            self.offset = opening.start
            self.put(Code.list0)
        } else {
            try self.close(opening, Code.list8, count: count)
        }
    }

    /// Writes nulls for omitted fields before this one. The caller has checked the room.
    @inline(__always)
    private mutating func field(_ index: Int, _ count: inout Int) {
        while count < index {
            self.put(Code.null)
            count &+= 1
        }
        count = index &+ 1
    }

    @inline(__always)
    private mutating func field(_ index: Int, _ text: UnsafePointer<String?>?, _ count: inout Int) throws(CodecFault) {
        guard let text = text?.pointee else { return }
        try self.room(13)
        self.field(index, &count)
        try self.string(text)
    }

    @inline(__always)
    private mutating func field(_ index: Int, _ symbol: UnsafePointer<AMQPSymbol?>?, _ count: inout Int)
        throws(CodecFault)
    {
        guard let symbol = symbol?.pointee else { return }
        try self.room(13)
        self.field(index, &count)
        try self.symbol(symbol)
    }

    @inline(__always)
    private mutating func field(_ index: Int, _ timestamp: UnsafePointer<AMQPTimestamp?>?, _ count: inout Int)
        throws(CodecFault)
    {
        guard let timestamp = timestamp?.pointee else { return }
        try self.room(13 + 9)
        self.field(index, &count)
        self.timestamp(timestamp)
    }

    @inline(__always)
    private mutating func field(_ index: Int, _ id: UnsafePointer<AMQPMessageID?>?, _ count: inout Int)
        throws(CodecFault)
    {
        guard let id else { return }
        try self.room(13 + 17)
        switch id.pointee {
        case nil: return
        case .ulong(let value):
            self.field(index, &count)
            self.ulong(value)
        case .uuid(let value):
            self.field(index, &count)
            self.uuid(value)
        case .string(let value):
            self.field(index, &count)
            try self.string(value)
        case .binary: try self.binaryField(index, id, &count)
        }
    }

    @inline(never)
    private mutating func binaryField(_ index: Int, _ id: UnsafePointer<AMQPMessageID?>, _ count: inout Int)
        throws(CodecFault)
    {
        guard case .binary(let value) = id.pointee else { return }
        self.field(index, &count)
        try self.binary(value)
    }

    @inline(never)
    private mutating func field(_ index: Int, _ bytes: UnsafePointer<ByteBuffer?>?, _ count: inout Int)
        throws(CodecFault)
    {
        guard let bytes = bytes?.pointee else { return }
        try self.room(13)
        self.field(index, &count)
        try self.binary(bytes)
    }
}
