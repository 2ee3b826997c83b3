import Foundation
import Testing

/// The code that the README and the articles show is code that is compiled: the files in Snippets/.
@Suite struct DocumentationTests {
    @Test(arguments: try Repository.documents())
    func everySwiftBlockIsCompiled(_ document: String) throws {
        let manifest = try Snippet(Repository.text(of: Repository.manifest), path: Repository.manifest)
        let sources = try Repository.snippets() + [manifest]
        for block in try Block.all(in: Repository.text(of: document)) where block.language == "swift" {
            #expect(
                sources.contains { $0.contains(block.lines) },
                "\(document): no file in Snippets/ holds this block:\n\(block.lines.joined(separator: "\n"))"
            )
        }
    }

    @Test func theReadmeShowsCode() throws {
        let blocks = try Block.all(in: Repository.text(of: "README.md"))
        #expect(blocks.count { $0.language == "swift" } >= 10)
        #expect(blocks.allSatisfy { ["swift", "sh"].contains($0.language) }, "each block names its language")
    }

    @Test func everySnippetReferenceLeadsSomewhere() throws {
        let snippets = try Repository.snippets()
        let pattern = /@Snippet\(path: "(?<path>[^"]+)"(, slice: "(?<slice>[^"]+)")?\)/
        var used: Set<String> = []
        for document in try Repository.documents() {
            for match in try Repository.text(of: document).matches(of: pattern) {
                let reference = match.output
                let snippet = snippets.first { "swift-qpid-proton/\($0.name)" == reference.path }
                #expect(snippet != nil, "\(document): there is no \(reference.path)")
                guard let snippet, let slice = reference.slice else { continue }
                #expect(snippet.slices.contains(String(slice)), "\(document): \(snippet.path) has no slice '\(slice)'")
                used.insert("\(snippet.name) \(slice)")
            }
        }
        for snippet in snippets {
            for slice in snippet.slices {
                #expect(used.contains("\(snippet.name) \(slice)"), "no article shows '\(slice)' of \(snippet.path)")
            }
        }
    }

    @Test(arguments: zip(Repository.libraries, [30, 5]))
    func theLandingPageNamesEveryPublicType(_ library: String, _ least: Int) throws {
        let page = try Repository.text(of: "\(Repository.catalogue(of: library))/\(library).md")
        let publicType = /(?m)^public (final )?(class|struct|enum|protocol|actor|typealias) (?<name>\w+)/
        var names: Set<Substring> = []
        for file in try Repository.files(in: "Sources/\(library)", withExtension: "swift") {
            for match in try Repository.text(of: file).matches(of: publicType) { names.insert(match.output.name) }
        }
        #expect(names.count > least)
        for name in names.sorted() {
            #expect(page.contains("- ``\(name)``\n"), "the landing page does not list \(name)")
        }
    }

    @Test func theLinksOfTheReadmeLeadSomewhere() throws {
        let links = try Repository.text(of: "README.md").matches(of: /\]\((?<path>[^)#:]+)\)/)
        #expect(!links.isEmpty)
        for link in links {
            #expect(Repository.exists(String(link.output.path)), "README.md: there is no \(link.output.path)")
        }
    }

    /// Building it would compile all dependencies a second time; that the manifest is a manifest takes a second.
    @Test func theManifestOfTheReadmeIsAManifest() throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        let folder = Repository.root.appending(path: Repository.manifest).deletingLastPathComponent().path
        process.arguments = ["swift", "package", "--package-path", folder, "dump-package"]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let json = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        #expect(String(decoding: json, as: UTF8.self).contains("swift-qpid-proton"))
    }
}
