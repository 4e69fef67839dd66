"""What a teacher says, computed once, kept in storage, and read back for any batch of the rows.

    CACHE_URI/auto-HASH.json                what mode auto has chosen, for those who ask alike
    CACHE_URI/KEY/                          KEY is a hash of all that decides what is in it
      records/0/train/en-00000/                one mask epoch and shard
        000000000-000000640.HASH.arrow         a range of its rows
        000000000-000000640.json               written after it: it is whole
      index-00000/                          published: the key, and which records there are
        manifest.json  COMMITTED
        head.safetensors                    the teacher's last linear map, in the mode hidden
      lease.json                            who is building

The records of a row are found by its id, so any order, batch size and number of workers can read
them. Each has a check of what the teacher was asked (the tokens as the models read them, masks
included, and the labels) and one of the answer. An index never changes; a longer training, or one
on more languages, adds records and then an index that names them all.

N, beside the dimension key of raykd.batch, is rows in a file; S is classes that are kept.
"""
