"""Published directories: whole or not there at all.

They are what raykd leaves behind for others to read:

    manifest.json   size and sha256 of every file, what kind of directory it is, its content
    COMMITTED       the sha256 of manifest.json; written last, its presence is the commit

A local one is written in a sibling folder and renamed; a remote one is uploaded file by file,
each verified. So a reader sees all of it or, without COMMITTED, knows that it is not there. No
store needs to know conditional writes for that.

Nothing goes or changes but what ``raykd.storage.published.ownership`` says is raykd's.
"""
