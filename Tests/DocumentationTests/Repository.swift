// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// The files of this repository that form the documentation.
extension Repository {
    static let libraries = ["QpidProton", "QpidProtonRabbitMQ"]
    static let manifest = "Tests/DocumentationTests/Dependent/Package.swift"

    /// The README and the articles.
    static func documents() throws -> [String] {
        try ["README.md"] + Self.libraries.flatMap { try Self.files(in: Self.catalogue(of: $0), withExtension: "md") }
    }

    /// The Markdown files that a forge renders.
    static func pages() throws -> [String] {
        let folders = ["Documentation", "Examples", "FuzzTesting", "Tests/IntegrationTests/Peers"]
        return try ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
            + folders.flatMap { try Self.files(in: $0, withExtension: "md") } + Self.documents().dropFirst()
    }

    static func catalogue(of library: String) -> String { "Sources/\(library)/\(library).docc" }

    static func snippets() throws -> [Snippet] {
        try Self.files(in: "Snippets", withExtension: "swift").map { try Snippet(Self.text(of: $0), path: $0) }
    }

    /// Returns the files of a folder and its subfolders, as paths from the root.
    static func files(in folder: String, withExtension suffix: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: Self.root.appending(path: folder).path)
            .filter { $0.hasSuffix("." + suffix) }
            .map { "\(folder)/\($0)" }
            .sorted()
    }

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: Self.root.appending(path: path).path)
    }
}

/// A file in Snippets/.
struct Snippet {
    let path: String
    /// The lines without the markers and without indentation.
    private(set) var lines: [Substring] = []
    /// The slices by their names.
    private(set) var slices: [String: [Substring]] = [:]

    init(_ text: String, path: String) {
        self.path = path
        var slice: String?
        for line in text.codeLines {
            if line.hasPrefix("// snippet.") {
                let name = String(line.dropFirst("// snippet.".count))
                slice = name == "end" ? nil : name
            } else {
                self.lines.append(line)
                if let slice { self.slices[slice, default: []].append(line) }
            }
        }
    }

    func contains(_ block: [Substring]) -> Bool {
        guard !block.isEmpty, block.count <= self.lines.count else { return false }
        return (0...(self.lines.count - block.count)).contains { self.lines[$0...].starts(with: block) }
    }
}

/// A block of code in a document.
struct Block {
    let language: String
    var lines: [Substring] = []

    static func all(in text: String) -> [Block] {
        var blocks: [Block] = []
        var current: Block?
        for line in text.codeLines {
            if line.hasPrefix("```") {
                if let block = current { blocks.append(block) }
                current = current == nil ? Block(language: String(line.dropFirst(3))) : nil
            } else {
                current?.lines.append(line)
            }
        }
        return blocks
    }
}

extension String {
    /// The lines without the spaces around them.
    var codeLines: [Substring] {
        self.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            let start = line.drop { $0 == " " }
            return start.lastIndex { $0 != " " }.map { start[...$0] } ?? ""
        }
    }
}
