// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// The code in the README and the articles is compiled, because it is a copy of the files in Snippets/.
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
        #expect(blocks.count { $0.language == "swift" } >= 4)
        #expect(blocks.allSatisfy { ["swift", "sh"].contains($0.language) }, "each block names its language")
    }

    /// A forge renders the text of an article, but not `@Snippet`.
    @Test func everySliceIsShownAsText() throws {
        let documents = try Repository.documents()
        let blocks = try documents.flatMap { try Block.all(in: Repository.text(of: $0)) }
        for document in documents {
            #expect(try !Repository.text(of: document).contains("@Snippet"), "\(document): show the code itself")
        }
        for snippet in try Repository.snippets() {
            for (name, lines) in snippet.slices {
                #expect(blocks.contains { $0.lines == lines }, "no article shows '\(name)' of \(snippet.path)")
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

    /// Comments and tags refer to the rules of Proton by codes such as P23.
    @Test func everyRuleOfProtonHasARow() throws {
        let key = try Set(Repository.text(of: "ARCHITECTURE.md").matches(of: /\bP\d+\b/).map { String($0.output) })
        #expect(key.count > 30)
        let files = try ["Sources", "Tests/QpidProtonTests"].flatMap {
            try Repository.files(in: $0, withExtension: "swift")
        }
        for file in files {
            for match in try Repository.text(of: file).matches(of: /\bP\d+\b|@Tag static var p\d+/) {
                let code = match.output.replacing("@Tag static var p", with: "P")
                #expect(key.contains(String(code)), "\(file): ARCHITECTURE.md has no row for \(code)")
            }
        }
    }

    /// The first lines of each file name its licence.
    @Test func everySourceFileNamesItsLicence() throws {
        let folders = ["Sources", "Tests", "Examples", "Snippets", "Benchmarks/Sources", "FuzzTesting/Sources"]
        let files = try folders.flatMap { try Repository.files(in: $0, withExtension: "swift") }
        #expect(files.count > 600)
        for file in files {
            let text = try Repository.text(of: file).prefix(200)
            #expect(text.contains("SPDX-License-Identifier: Apache-2.0"), "\(file) has no SPDX line")
        }
    }

    @Test(arguments: try Repository.pages())
    func everyLinkOfAPageHasATarget(_ page: String) throws {
        let folder = page.lastIndex(of: "/").map { page[...$0] } ?? ""
        for link in try Repository.text(of: page).matches(of: /(\]\(|src="|srcset=")(?<path>[^)"#:]+)[)"#]/) {
            let path = link.output.path
            // DocC finds an image in a catalogue by its name.
            guard path.contains("/") || path.contains(".") else { continue }
            #expect(Repository.exists("\(folder)\(path)"), "\(page): there is no \(folder)\(path)")
        }
    }

    /// The test only evaluates the manifest, which takes a second. Building it would compile all dependencies again.
    @Test func theManifestOfTheReadmeIsValid() throws {
        let folder = Repository.root.appending(path: Repository.manifest).deletingLastPathComponent().path
        let arguments = ["swift", "package", "--package-path", folder, "dump-package"]
        #expect(try ChildProcess.run("/usr/bin/env", arguments).contains("swift-qpid-proton"))
    }
}
