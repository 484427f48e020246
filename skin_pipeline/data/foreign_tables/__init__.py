"""Tables as people have them: CSV of any dialect, or a workbook, with whatever is above the header.

Takes in a file and the names of the images. Gives its tables, or the reasons why it has none. It
knows nothing of patients or labels: `metadata` is the only room that calls it.

In reading order:

- `reading`: from a file to tables
- `csv_text`, `workbooks`: the two kinds of files
- `header`: finding the header of a table
- `assembling`: from rows to a table
- `table`: a table in memory, and why a file is none
- `image_names`: which images a cell names
- `cells`: names of columns and flags in a form that can be compared
"""
